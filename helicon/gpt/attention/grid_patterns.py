"""DALL·E's patterns over a grid of W tokens a row (arXiv:2102.12092, appendix B), as ruDALL-E's code has them.

Two definitions of `conv` circulate: with the pixels up and to the right of the query (the paper's figure, ruDALL-E),
and without them (DALLE-pytorch). This is the first. DALL·E's column is `Column`, of the width of the grid.

Shapes: B batch, K keys of a list, D rows of a neighbourhood, S its columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from helicon.gpt.attention import tiles
from helicon.gpt.attention.pattern_base import AttentionPattern, KeyList, NumberedSpec
from helicon.gpt.attention.stride_patterns import DensePattern, LocalPattern, ceil_div
from helicon.gpt.attention.tiles import AttentionTile


@dataclass(frozen=True)
class RowPattern(NumberedSpec):
    """The last W keys and self, reaching into the row above; `block` is the row within its edges."""

    stride: int
    form = "row[:W]"

    def resolve(self, row: int | None) -> AttentionPattern:
        """A window of W + 1."""
        return LocalPattern(self.stride + 1)


@dataclass(frozen=True)
class ConvPattern(AttentionPattern):
    """The K x K neighbourhood centred on the query, up to self: cut off at the edges of the grid."""

    kernel: int
    stride: int
    form = "conv:K[,W]"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel % 2 == 0:
            raise ValueError(f"the kernel K of {self.form} must be odd, so that it has a centre")

    @property
    def reach(self) -> int:
        """Rows above the query, and columns to either side."""
        return self.kernel // 2

    def mask_mod(self, query: Tensor, key: Tensor) -> Tensor:
        rise, shift = query // self.stride - key // self.stride, key % self.stride - query % self.stride
        return (key <= query) & (rise <= self.reach) & (shift.abs() <= self.reach)

    def tiles(self, length: int) -> Iterator[AttentionTile]:
        return tiles.neighbour_tiles(length, self.stride, self.reach)

    def keys(self, query_B: Tensor, length: int) -> KeyList:
        rows = min(self.reach, ceil_div(length, self.stride) - 1)
        columns = min(self.reach, self.stride - 1)
        rise_D1 = torch.arange(rows + 1, device=query_B.device)[:, None]
        shift_S = torch.arange(-columns, columns + 1, device=query_B.device)
        index_BDS = query_B[:, None, None] - rise_D1 * self.stride + shift_S
        column_B1S = query_B[:, None, None] % self.stride + shift_S
        inside_BDS = (column_B1S >= 0) & (column_B1S < self.stride) & (index_BDS >= 0)
        return index_BDS.flatten(1), (inside_BDS & (index_BDS <= query_B[:, None, None])).flatten(1)


@dataclass(frozen=True)
class UnresolvedPattern:
    """A pattern without its width, such as `column`: that of the grid's rows; dense in a slot that is no grid.

    numbers: those of the pattern that come before its width.
    """

    pattern: type[Any]
    numbers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self.pattern(*self.numbers, 1)  # ValueError when the numbers are wrong whatever the width

    def __str__(self) -> str:
        return self.pattern.written(*self.numbers)

    def resolve(self, row: int | None) -> AttentionPattern:
        """With the width `row`."""
        return DensePattern() if row is None else self.pattern(*self.numbers, row).resolve(row)
