"""A training step, forward, backward and AdamW, of 8 layers x 512: ours beside Hugging Face's GPT-2 and x-transformers.

python benchmarks/training_step.py                     # 1,280 tokens of text, then 256 of text with 1,024 of a picture
python benchmarks/training_step.py long --repeats 3    # 16,384 tokens: block and column in turn against dense SDPA
python benchmarks/training_step.py pieces              # short pieces of various lengths: filled up, and packed
python benchmarks/training_step.py loss                # time and peak memory of the loss over 50,257 words

Peers have the same shape, causal SDPA, no dropout, tied embeddings and their own loss; all take fused AdamW and reuse
freed memory alike. Medians of runs in turns after a warm-up. `pip install -e ".[bench]"` brings the peers.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from machine import describe, seconds, side_by_side
from torch import Tensor, nn

from helicon.gpt.cross_entropy import Scored, summed_cross_entropy
from helicon.gpt.model import GPT, Shape
from helicon.sequence.layout import Frame
from helicon.training.memory import keep_freed_memory

LAYERS, WIDTH, HEADS = 8, 512, 8
TOKENS, LONG = 1280, 16384
# Rows of the vocabulary and the tokens of each slot: a task token, then text, then perhaps a picture's codes
TEXT = {"text": (slice(1, 8200), TOKENS)}
PICTURE = {"text": (slice(1, 16386), 256), "image": (slice(16386, 24579), 1024)}
WORDS = 50257
RSS_BYTES = 1 if sys.platform == "darwin" else 1024  # the unit of ru_maxrss

Slots = dict[str, tuple[slice, int]]
Loss = Callable[[Tensor], Tensor]  # ids [1, T + 1] -> nats a token


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["peers", "long", "pieces", "loss"], default="peers")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--bf16", action="store_true", help="long and pieces: under autocast instead of in float32")
    parser.add_argument("--point", choices=["whole", "parts"], help=argparse.SUPPRESS)  # one row of loss
    args = parser.parse_args()
    keep_freed_memory()
    if args.point:
        print(json.dumps(measure_loss(args.point, args.repeats)))
        return
    print(describe() + "\n")
    {"peers": print_peers, "long": print_long, "pieces": print_pieces, "loss": print_loss}[args.what](args)


def print_peers(args: argparse.Namespace) -> None:
    """Tokens a second of each model and type of numbers, and how many times ours are the best of a peer."""
    peaks = {dtype: matmul_peak(dtype) for dtype in (torch.float32, torch.bfloat16)}
    print(f"matrix products: {peaks[torch.float32]:.0f} GFLOP/s in fp32, {peaks[torch.bfloat16]:.0f} in bf16")
    for name, slots in {"text": TEXT, "text and a picture": PICTURE}.items():
        makers = {"helicon": ours, "Hugging Face GPT-2": hugging_face, "x-transformers": x_transformer}
        models = {maker: make(slots) for maker, make in makers.items()}
        runs = {(m, bf16): step(model, draw(slots), bf16) for m, model in models.items() for bf16 in (False, True)}
        times = side_by_side(runs, args.repeats)
        best = {m: min(times[m, False], times[m, True]) for m in models}
        print(f"\n| {TOKENS} tokens, {name} | ours are | tokens/s fp32 | bf16 |\n|---|---:|---:|---:|")
        for m in models:
            fp32, bf16 = (TOKENS / times[m, b] for b in (False, True))
            print(f"| {m} | {best[m] / best['helicon']:.2f}x | {fp32:,.0f} | {bf16:,.0f} |", flush=True)
        for bf16, (dtype, peak) in enumerate(peaks.items()):
            share = flops(slots) / times["helicon", bool(bf16)] / 1e9 / peak
            print(f"\nours in {dtype}: {100 * share:.0f} % of the matrix products' speed", end="")
        print()
        del models, runs
        gc.collect()


def print_long(args: argparse.Namespace) -> None:
    """A sparse GPT against a dense one."""
    slots: Slots = {"text": (TEXT["text"][0], LONG)}
    patterns = {"dense": "dense", "block and column in turn": "block:128,column:128", "merged": "strided:128"}
    runs = {name: step(ours(slots, pattern), draw(slots), args.bf16) for name, pattern in patterns.items()}
    times = side_by_side(runs, args.repeats)
    print(f"| {LONG} tokens, {'bf16' if args.bf16 else 'fp32'} | x dense | seconds a step |\n|---|---:|---:|")
    for name, taken in times.items():
        print(f"| {name} | {times['dense'] / taken:.2f} | {taken:.2f} |")


def print_pieces(args: argparse.Namespace) -> None:
    """16 pieces of 32 to 512 tokens, all of one batch."""
    lengths_B = torch.linspace(32, 512, 16).long()
    (rows, _), longest = TEXT["text"], int(lengths_B.max())
    gpt, ids = new_gpt(rows.stop, longest), torch.randint(rows.start, rows.stop, (len(lengths_B), longest + 1))
    places = torch.arange(longest).view(1, -1, 1).expand(len(ids), -1, -1)
    real_BT = torch.arange(longest) < lengths_B[:, None]

    def loss(ids_BT: Tensor, lengths_B: Tensor | None) -> Tensor:
        hidden = gpt(ids_BT[:, :-1], places, Frame(), lengths_B=lengths_B)
        return gpt.nats([Scored(hidden[real_BT], rows, ids_BT[:, 1:][real_BT] - rows.start)]).sum() / real_BT.sum()

    runs = {
        name: step(Model(gpt, lambda ids, kept=kept: loss(ids, kept)), ids, args.bf16)
        for name, kept in {"filled up": None, "packed": lengths_B}.items()
    }
    times, tokens = side_by_side(runs, args.repeats), int(lengths_B.sum())
    print(f"| {len(ids)} pieces, {tokens} tokens of {real_BT.numel()} | faster | tokens/s |\n|---|---:|---:|")
    for name, taken in times.items():
        print(f"| {name} | {times['filled up'] / taken:.2f}x | {tokens / taken:,.0f} |")


def print_loss(args: argparse.Namespace) -> None:
    """A fresh process a row, since peak memory never falls."""
    print(f"| loss of {TOKENS} positions over {WORDS} words, bf16 | ms | peak MB |\n|---|---:|---:|")
    for way in ("whole", "parts"):
        command = [sys.executable, __file__, "--point", way, f"--repeats={args.repeats}"]
        point = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(f"| {way} | {point['seconds'] * 1e3:.0f} | {point['bytes'] / 1e6:.0f} |", flush=True)


def measure_loss(way: str, repeats: int) -> dict[str, float]:
    """Median seconds forward and backward, and peak memory beyond weights, hidden states and their gradients."""
    hidden, weight = torch.randn(TOKENS, WIDTH, requires_grad=True), torch.randn(WORDS, WIDTH, requires_grad=True)
    hidden.grad, weight.grad = torch.zeros_like(hidden), torch.zeros_like(weight)
    targets = torch.randint(WORDS, (TOKENS,))

    def run(positions: int = TOKENS) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            if way == "parts":
                loss = summed_cross_entropy(weight, [Scored(hidden[:positions], slice(WORDS), targets[:positions])])[0]
            else:
                logits = F.linear(hidden[:positions], weight).float()
                loss = F.cross_entropy(logits, targets[:positions], reduction="sum")
        loss.backward()

    run(1)  # what threads and libraries allocate once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    taken = seconds(run, repeats)
    return {"seconds": taken, "bytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * RSS_BYTES}


class Model(nn.Module):
    """A network and its loss."""

    def __init__(self, network: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.network, self.loss = network, loss

    def forward(self, ids: Tensor) -> Tensor:
        return self.loss(ids)


def new_gpt(words: int, tokens: int, pattern: str = "dense") -> GPT:
    """Ours; a position has an embedding of its own, as in GPT-2."""
    return GPT(Shape(LAYERS, WIDTH, HEADS, pattern), words, tokens)


def ours(slots: Slots, pattern: str = "dense") -> Model:
    """Computes of each slot the rows of its own vocabulary."""
    tokens = sum(count for _, count in slots.values())
    gpt = new_gpt(max(rows.stop for rows, _ in slots.values()), tokens, pattern)
    places = torch.arange(tokens).view(1, -1, 1)

    def loss(ids: Tensor) -> Tensor:
        hidden, start, scored = gpt(ids[:, :-1], places, Frame())[0], 0, []
        for rows, count in slots.values():
            targets = ids[0, start + 1 : start + 1 + count] - rows.start
            scored.append(Scored(hidden[start : start + count], rows, targets))
            start += count
        return gpt.nats(scored).sum() / tokens

    return Model(gpt, loss)


def hugging_face(slots: Slots) -> Model:
    """GPT2LMHeadModel with its own loss; the same GELU by PyTorch's kernel, which is faster than its default."""
    from transformers import GPT2Config, GPT2LMHeadModel, logging

    logging.set_verbosity_error()
    words = max(rows.stop for rows, _ in slots.values())
    config = GPT2Config(
        vocab_size=words, n_positions=TOKENS, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, use_cache=False,
        activation_function="gelu_pytorch_tanh", resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, bos_token_id=0,
        eos_token_id=0, attn_implementation="sdpa",
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


def matmul_peak(dtype: torch.dtype, size: int = 2048) -> float:
    """GFLOP/s of a product of square matrices."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    return 2 * size**3 / min(seconds(lambda: a @ b) for _ in range(3)) / 1e9


if __name__ == "__main__":
    main()
