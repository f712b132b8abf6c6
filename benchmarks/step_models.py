"""The models of the training benchmarks: ours and peers of the same shape, their batches, and a step of training.

Peers have causal SDPA, no dropout, tied embeddings and their own loss; all take fused AdamW.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from helicon.gpt.cross_entropy import Scored
from helicon.gpt.model import GPT, GPTConfig
from helicon.sequence.layout import PatternContext

LAYERS, WIDTH, HEADS = 8, 512, 8
TOKENS = 1280
# Rows of the vocabulary and the tokens of each slot: a task token, then text, then perhaps a picture's codes
TEXT = {"text": (slice(1, 8200), TOKENS)}
PICTURE = {"text": (slice(1, 16386), 256), "image": (slice(16386, 24579), 1024)}

Slots = dict[str, tuple[slice, int]]
Loss = Callable[[Tensor], Tensor]  # ids [1, T + 1] -> nats a token


class Model(nn.Module):
    """A network and its loss."""

    def __init__(self, network: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.network, self.loss = network, loss

    def forward(self, ids: Tensor) -> Tensor:
        return self.loss(ids)


def new_gpt(words: int, tokens: int, pattern: str = "dense") -> GPT:
    """Ours; a position has an embedding of its own, as in GPT-2."""
    return GPT(GPTConfig(layers=LAYERS, width=WIDTH, heads=HEADS, pattern=pattern), words, tokens)


def ours(slots: Slots, pattern: str = "dense") -> Model:
    """Computes of each slot the rows of its own vocabulary."""
    tokens = sum(count for _, count in slots.values())
    gpt = new_gpt(max(rows.stop for rows, _ in slots.values()), tokens, pattern)
    places = torch.arange(tokens).view(1, -1, 1)

    def loss(ids: Tensor) -> Tensor:
        hidden, start, scored = gpt(ids[:, :-1], places, PatternContext())[0], 0, []
        for rows, count in slots.values():
            targets = ids[0, start + 1 : start + 1 + count] - rows.start
            scored.append(Scored(hidden[start : start + count], rows, targets))
            start += count
        return gpt.nll_sum(scored).sum() / tokens

    return Model(gpt, loss)


def hugging_face(slots: Slots) -> Model:
    """GPT2LMHeadModel with its own loss; the same GELU by PyTorch's kernel, which is faster than its default."""
    from transformers import GPT2Config, GPT2LMHeadModel, logging

    logging.set_verbosity_error()
    words = max(rows.stop for rows, _ in slots.values())
    config = GPT2Config(
        vocab_size=words, n_positions=TOKENS, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, use_cache=False,
        activation_function="gelu_pytorch_tanh", resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, bos_token_id=0,
        eos_token_id=0, attn_implementation="sdpa",  # type: ignore[call-arg]  (one of the base class)
    )  # fmt: skip
    network = GPT2LMHeadModel(config)
    return Model(network, lambda ids: network(input_ids=ids[:, :-1], labels=ids[:, :-1]).loss)  # shifted in there


def x_transformer(slots: Slots) -> Model:
    """TransformerWrapper and its AutoregressiveWrapper, with flash attention."""
    from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

    words = max(rows.stop for rows, _ in slots.values())
    decoder = Decoder(dim=WIDTH, depth=LAYERS, heads=HEADS, attn_dim_head=WIDTH // HEADS, attn_flash=True)
    inner = TransformerWrapper(num_tokens=words, max_seq_len=TOKENS, attn_layers=decoder, tie_embedding=True)
    network = AutoregressiveWrapper(inner)
    return Model(network, lambda ids: network(ids[:, :-1]))  # shifted in there


def step(model: Model, ids: Tensor, bf16: bool) -> Callable[[], object]:
    """One step of training."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def run() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model(ids)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def draw(slots: Slots) -> Tensor:
    """[1, T + 1]: a task token, then random tokens of each slot."""
    parts = [torch.randint(rows.start, rows.stop, (1, count)) for rows, count in slots.values()]
    return torch.cat([torch.zeros(1, 1, dtype=torch.int64), *parts], 1)


def flops(slots: Slots) -> float:
    """Operations of a step by the formulas: 6 for a weight and a token that meet, and attention under the diagonal."""
    layers = 12 * WIDTH**2 * LAYERS * TOKENS
    heads = sum((rows.stop - rows.start) * WIDTH * count for rows, count in slots.values())
    return 6 * (layers + heads) + 6 * LAYERS * TOKENS**2 * WIDTH
