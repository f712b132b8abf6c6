"""The GPT: a pre-norm decoder over ids and coordinates, with variants of GPT-2, arXiv:1904.10509 and LlamaGen.

Shapes: B batch, T tokens, N scored positions, A coordinate axes, C width, V vocabulary, S slots, P sequences scored.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from helicon.gpt.attention.patterns import parse_patterns
from helicon.gpt.cache import Cache, Positions
from helicon.gpt.config import GPTConfig
from helicon.gpt.cross_entropy import Scored, summed_cross_entropy
from helicon.gpt.dropout import Dropout
from helicon.gpt.layer import Layer, make_norm
from helicon.gpt.linear import Linear, linear
from helicon.gpt.padding import Padding
from helicon.gpt.quantized import Int8Linear
from helicon.gpt.rotary import Angles
from helicon.sequence.layout import PatternContext

IGNORED = -1  # target of positions without a loss


class GPT(nn.Module):
    """Decoder-only transformer: ids and coordinates in, hidden states out; `logits` is for one slice of the vocabulary.

    One embedding table, `places`, holds the coordinates of all axes; a token's coordinate embeddings are summed. So
    every parameter has a gradient at every step, whatever slots a batch has.

    Args:
        config: architecture.
        vocabulary_size: rows of the token embedding.
        coord_table_size: rows of the coordinate embedding, of all axes together.
        rope: whether queries and keys are rotated by their position.

    Attributes:
        checkpoint: if True, activation checkpointing: each layer is recomputed in backward.
    """

    def __init__(self, config: GPTConfig, vocabulary_size: int, coord_table_size: int, rope: bool = False) -> None:
        super().__init__()
        self.config, self.rope, self.checkpoint = config, rope, False
        self.tokens = nn.Embedding(vocabulary_size, config.width)
        self.places = nn.Embedding(coord_table_size, config.width)
        # Data-parallel processes would wait for the gradient of an empty table
        self.places.weight.requires_grad_(coord_table_size > 0)
        self.dropout = Dropout(config.dropout)
        patterns = parse_patterns(config.pattern, config.layers)
        self.layers = nn.ModuleList(Layer(config, pattern) for pattern in patterns)
        self.norm = make_norm(config, config.width)
        head = None if config.tied else Linear(config.width, vocabulary_size, bias=False)
        self.head: nn.Linear | Int8Linear | None = head
        self._initialise()

    def _initialise(self) -> None:
        """Draw weights from N(0, .02^2), those of the last linear of a residual branch / sqrt(2 layers) (GPT-2)."""
        if (
            self.tokens.weight.is_meta
        ):  # weights are loaded later, and each operation on meta tensors takes a millisecond
            return
        for name, parameter in self.named_parameters():
            if parameter.dim() < 2:
                continue
            nn.init.normal_(
                parameter, std=0.02 / (2 * self.config.layers) ** 0.5 if name.endswith("out.weight") else 0.02
            )
        for module in self.modules():
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    @property
    def head_weight(self) -> Tensor:
        """Output matrix [V, C], a row of width C for each of V vocabulary ids: the token embedding where tied."""
        if isinstance(self.head, Int8Linear):
            return self.head.dequantize()
        return self.tokens.weight if self.head is None else self.head.weight

    def embed(self, ids: Tensor, coord_ids: Tensor) -> Tensor:
        """Add token embeddings and coordinate embeddings.

        Args:
            ids: vocabulary ids int64 [...], of any shape.
            coord_ids: int64 [..., A], a row of the coordinate table for each of A axes.

        Returns:
            Embeddings [..., C] of the model's width C, after dropout.
        """
        x = self.tokens(ids)
        if coord_ids.shape[-1]:
            x = x + F.embedding_bag(coord_ids.flatten(0, -2), self.places.weight, mode="sum").view_as(x)
        return self.dropout(x)

    def forward(
        self, ids_BT: Tensor, coord_ids_BTA: Tensor, frame: PatternContext, cache: Cache | None = None,
        lengths_B: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Compute hidden states of whole sequences.

        Args:
            ids_BT: vocabulary ids, int64.
            coord_ids_BTA: int64, a row of the coordinate table for each of A axes.
            frame: `PatternContext`, the prefix length and grid width of the layout.
            cache: KV `Cache` to fill (prefill); None for none.
            lengths_B: int64, number of real tokens of each right-padded sequence; None for all. Only attention is
                computed for padding.

        Returns:
            Hidden states [B, T, C] of width C after the final norm; 0 at padding.
        """
        angles = self._angles(torch.arange(ids_BT.shape[1], device=ids_BT.device)[None])  # shared by the batch
        padding = None if lengths_B is None else Padding.of(lengths_B, ids_BT.shape[1])
        if padding:
            x = self.embed(padding.unpad(ids_BT), padding.unpad(coord_ids_BTA))
        else:
            x = self.embed(ids_BT, coord_ids_BTA)
        for i, layer in enumerate(self.layers):
            if self.checkpoint and self.training:
                x = checkpoint(layer, x, angles, frame, None, i, padding, use_reentrant=False)
            else:
                x = layer(x, angles, frame, cache, i, padding)
        x = self.norm(x)
        return padding.pad(x) if padding else x

    def features(
        self, ids_BT: Tensor, coord_ids_BTA: Tensor, frame: PatternContext, layers: Collection[int]
    ) -> Iterator[tuple[int, Tensor]]:
        """Compute features of chosen layers: hidden states after a layer's first norm (iGPT, section 2.2).

        Args:
            ids_BT: vocabulary ids, int64.
            coord_ids_BTA: int64, a row of the coordinate table for each of A axes.
            frame: `PatternContext`, the prefix length and grid width of the layout.
            layers: indices of layers, from 0 on; the number of layers stands for the output of `forward`.

        Yields:
            Pairs of layer index and features [B, T, C] of the model's width C, in ascending order. Layers above the
            last of them are not run.
        """
        x, last = self.embed(ids_BT, coord_ids_BTA), max(layers)
        angles = self._angles(torch.arange(ids_BT.shape[1], device=ids_BT.device)[None])  # shared by the batch
        for i, layer in enumerate(self.layers[: last + 1]):
            if i in layers:
                yield i, cast(Layer, layer).norm_1(x)
            if i < last:
                x = layer(x, angles, frame)
        if last == len(self.layers):
            yield last, self.norm(x)

    def new_cache(self, batch: int, length: int) -> Cache:
        """Make an empty KV cache on the device of the weights, in the dtype of the embeddings.

        Args:
            batch: number of rows.
            length: number of tokens that fit in a row.

        Returns:
            A `Cache` of zeros.
        """
        weights, config = self.tokens.weight, self.config
        return Cache(config.layers, batch, config.heads, length, config.head_width, weights.device, weights.dtype)

    def step(
        self,
        ids_B: Tensor,
        coord_ids_BA: Tensor,
        position_B: Tensor,
        frame: PatternContext,
        cache: Cache,
        kv_length: int | None = None,
    ) -> Tensor:
        """Compute hidden states of one new token per row (decode step).

        Args:
            ids_B: vocabulary ids of the new tokens, int64.
            coord_ids_BA: int64, a row of the coordinate table for each of A axes.
            position_B: int64 positions of the new tokens in their sequences, from 0, which may differ.
            frame: `PatternContext`, the prefix length and grid width of the layout.
            cache: KV `Cache` of the earlier tokens; the new keys and values are written to it.
            kv_length: exclusive upper bound of the positions; None looks for it, which synchronises with a GPU.

        Returns:
            Hidden states [B, C] of width C after the final norm.
        """
        positions = Positions.of(position_B, kv_length)
        # One angle shared by aligned rows: its rounding must not depend on the number of rows
        angles = self._angles((position_B[:1] if positions.aligned else position_B)[:, None])
        x = self.embed(ids_B, coord_ids_BA)
        for i, layer in enumerate(self.layers):
            x = cast(Layer, layer).step(x, positions, angles, frame, cache, i)
        return self.norm(x)

    def _angles(self, position_BT: Tensor) -> Angles | None:
        return Angles.of(position_BT, self.config.qk_width // self.config.heads) if self.rope else None

    def logits(self, hidden: Tensor, vocab_slice: slice) -> Tensor:
        """Compute logits of one slice of the vocabulary.

        Args:
            hidden: hidden states [..., C] of width C.
            vocab_slice: range of vocabulary ids, usually of a slot's tokens.

        Returns:
            Logits [..., V] of the V ids of the slice.
        """
        if isinstance(self.head, Int8Linear):
            return self.head(hidden, vocab_slice)
        return linear(hidden, self.head_weight[vocab_slice])

    def nll_sum(self, scored: Sequence[Scored]) -> Tensor:
        """Sum -log p of the targets of each slot; all logits are never in memory at once.

        Args:
            scored: one `Scored` for each of S slots: its hidden states, vocabulary slice and targets.

        Returns:
            Sums [S] in nats, in the order of `scored`.
        """
        if isinstance(self.head, Int8Linear):
            # int8 weights have no gradients to compute along the way: the logits of one slice at a time
            pairs = ((self.logits(item.hidden_NC, item.vocab_slice).float(), item.targets_N) for item in scored)
            return torch.stack([F.cross_entropy(logits, targets, reduction="sum") for logits, targets in pairs])
        return summed_cross_entropy(self.head_weight, scored)

    def token_nll(
        self, hidden_PTC: Tensor, targets_PT: Tensor, vocab_slice: slice, allowed_PTV: Tensor | None = None
    ) -> Tensor:  # fmt: skip
        """Compute -log p of each target.

        Args:
            hidden_PTC: hidden states of P sequences of T tokens, of width C.
            targets_PT: int64 vocabulary ids in `vocab_slice`; negative where there is no target.
            vocab_slice: range of V vocabulary ids that are possible.
            allowed_PTV: bool, True for tokens of the slice that the grammar allows, at least one at each position; None
                allows all.

        Returns:
            Nats [P, T], float32; 0 where there is no target.
        """
        logits_PTV = self.logits(hidden_PTC, vocab_slice).float()
        if allowed_PTV is not None:
            logits_PTV = logits_PTV.masked_fill(~allowed_PTV, -torch.inf)
        logits_PVT = logits_PTV.transpose(1, 2)
        local_PT = (targets_PT - vocab_slice.start).where(targets_PT >= 0, IGNORED)
        return F.cross_entropy(logits_PVT, local_PT, ignore_index=IGNORED, reduction="none")

    def parameter_count(self) -> int:
        """Return the number of parameters, tied ones counted once, embeddings included."""
        return sum(parameter.numel() for parameter in self.parameters())
