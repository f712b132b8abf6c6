"""The GPT: a pre-norm decoder over ids and coordinates (GPT-2's, arXiv:1904.10509's and LlamaGen's variants).

Shapes: B batch, T tokens, N positions that are scored, A coordinate axes, C width, V vocabulary rows, S slots.
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
from helicon.gpt.pieces import PaddedPieces
from helicon.gpt.quantized import Int8Linear
from helicon.gpt.rotary import Angles
from helicon.sequence.layout import PatternContext

IGNORED = -1  # no target


class GPT(nn.Module):
    """Ids and coordinates in, hidden states out; `logits` computes only the rows of the vocabulary that are asked for.

    rows are of one table of `places` rows that holds the coordinates of all axes; a token's are summed. So every
    parameter has a gradient at every step, whatever slots a batch has.
    `checkpoint` recomputes each layer in backward instead of keeping its activations.
    """

    def __init__(self, config: GPTConfig, vocabulary_size: int, places: int, rope: bool = False) -> None:
        super().__init__()
        self.config, self.rope, self.checkpoint = config, rope, False
        self.tokens = nn.Embedding(vocabulary_size, config.width)
        self.places = nn.Embedding(places, config.width)
        self.places.weight.requires_grad_(places > 0)  # several processes would await the gradient of an empty table
        self.dropout = Dropout(config.dropout)
        patterns = parse_patterns(config.pattern, config.layers)
        self.layers = nn.ModuleList(Layer(config, pattern) for pattern in patterns)
        self.norm = make_norm(config, config.width)
        head = None if config.tied else Linear(config.width, vocabulary_size, bias=False)
        self.head: nn.Linear | Int8Linear | None = head
        self._initialise()

    def _initialise(self) -> None:
        """N(0, .02); the last linear of each residual branch scaled by 1/sqrt(2 layers) (GPT-2)."""
        if self.tokens.weight.is_meta:  # weights follow, and each operation that does nothing takes a millisecond
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
        """[V, C], tied to the token embedding or its own."""
        if isinstance(self.head, Int8Linear):
            return self.head.whole()
        return self.tokens.weight if self.head is None else self.head.weight

    def embed(self, ids: Tensor, rows: Tensor) -> Tensor:
        """Token embedding plus the sum of its coordinates' embeddings: ids [...], rows [..., A] -> [..., C]."""
        x = self.tokens(ids)
        if rows.shape[-1]:
            x = x + F.embedding_bag(rows.flatten(0, -2), self.places.weight, mode="sum").view_as(x)
        return self.dropout(x)

    def forward(
        self, ids_BT: Tensor, rows_BTA: Tensor, frame: PatternContext, cache: Cache | None = None,
        lengths_B: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Hidden states [B, T, C] after the final norm. Keys and values go into `cache` when one is given (prefill).

        What lies beyond the lengths costs attention alone, and gives 0.
        """
        angles = self._angles(torch.arange(ids_BT.shape[1], device=ids_BT.device)[None])  # of all rows
        pieces = None if lengths_B is None else PaddedPieces.of(lengths_B, ids_BT.shape[1])
        x = self.embed(pieces.unpad(ids_BT), pieces.unpad(rows_BTA)) if pieces else self.embed(ids_BT, rows_BTA)
        for i, layer in enumerate(self.layers):
            if self.checkpoint and self.training:
                x = checkpoint(layer, x, angles, frame, None, i, pieces, use_reentrant=False)
            else:
                x = layer(x, angles, frame, cache, i, pieces)
        x = self.norm(x)
        return pieces.pad(x) if pieces else x

    def features(
        self, ids_BT: Tensor, rows_BTA: Tensor, frame: PatternContext, wanted: Collection[int]
    ) -> Iterator[tuple[int, Tensor]]:
        """(layer, [B, T, C]): hidden states before its attention, after its norm (iGPT, section 2.2), in order.

        Layer 0 has the embeddings; one more than the last has what `forward` gives. Layers above those are not run.
        """
        x, last = self.embed(ids_BT, rows_BTA), max(wanted)
        angles = self._angles(torch.arange(ids_BT.shape[1], device=ids_BT.device)[None])  # of all rows
        for i, layer in enumerate(self.layers[: last + 1]):
            if i in wanted:
                yield i, cast(Layer, layer).norm_1(x)
            if i < last:
                x = layer(x, angles, frame)
        if last == len(self.layers):
            yield last, self.norm(x)

    def new_cache(self, batch: int, length: int) -> Cache:
        """An empty one for so many rows and tokens, beside the weights and in the type of the embeddings."""
        weights, config = self.tokens.weight, self.config
        return Cache(config.layers, batch, config.heads, length, config.head_width, weights.device, weights.dtype)

    def step(
        self,
        ids_B: Tensor,
        rows_BA: Tensor,
        position_B: Tensor,
        frame: PatternContext,
        cache: Cache,
        reach: int | None = None,
    ) -> Tensor:
        """Hidden state [B, C] of one new token a row, at `position_B`, which may differ between rows.

        No position is `reach` or more; given, it spares a GPU the question.
        """
        places = Positions.of(position_B, reach)
        # One angle for all where they stand together: not even its rounding may depend on how many they are
        angles = self._angles((position_B[:1] if places.aligned else position_B)[:, None])
        x = self.embed(ids_B, rows_BA)
        for i, layer in enumerate(self.layers):
            x = cast(Layer, layer).step(x, places, angles, frame, cache, i)
        return self.norm(x)

    def _angles(self, position_BT: Tensor) -> Angles | None:
        return Angles.of(position_BT, self.config.qk_width // self.config.heads) if self.rope else None

    def logits(self, hidden: Tensor, rows: slice) -> Tensor:
        """[..., rows]: the slice of the output matrix that belongs to the slot at hand."""
        if isinstance(self.head, Int8Linear):
            return self.head(hidden, rows)
        return linear(hidden, self.head_weight[rows])

    def nats(self, scored: Sequence[Scored]) -> Tensor:
        """[S]: the sum of -log p of the targets of each slot's positions; their logits never exist whole."""
        if isinstance(self.head, Int8Linear):
            whole = ((self.logits(hidden_NC, rows).float(), targets_N) for hidden_NC, rows, targets_N in scored)
            return torch.stack([F.cross_entropy(*each, reduction="sum") for each in whole])
        return summed_cross_entropy(self.head_weight, scored)

    def token_nats(
        self, hidden_PTC: Tensor, targets_PT: Tensor, rows: slice, allowed_PTV: Tensor | None = None
    ) -> Tensor:  # fmt: skip
        """[P, T], float32: -log p of each target, a row of the vocabulary among `rows`; 0 where it is negative.

        allowed_PTV: bool, which of these rows have a probability at all; each position has one of them.
        """
        logits_PTV = self.logits(hidden_PTC, rows).float()
        if allowed_PTV is not None:
            logits_PTV = logits_PTV.masked_fill(~allowed_PTV, -torch.inf)
        logits_PVT = logits_PTV.transpose(1, 2)
        local_PT = (targets_PT - rows.start).where(targets_PT >= 0, IGNORED)
        return F.cross_entropy(logits_PVT, local_PT, ignore_index=IGNORED, reduction="none")

    def parameter_count(self) -> int:
        """Distinct parameters, embeddings included."""
        return sum(parameter.numel() for parameter in self.parameters())
