"""DALL·E's attention patterns over a grid with rows of W tokens (arXiv:2102.12092, appendix B), as in ruDALL-E's code.

Two definitions of `conv` circulate: with the pixels above and to the right of the query (the paper's figure, ruDALL-E),
and without them (DALLE-pytorch). This is the first. DALL·E's column pattern is `ColumnPattern` with L = W.

Shapes: B batch, K keys of a list, D rows of a neighbourhood, S columns of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from helicon.gpt.attention import pattern_tiles
from helicon.gpt.attention.pattern_base import AttentionPattern, KeyList, NumberedSpec
from helicon.gpt.attention.stride_patterns import DensePattern, LocalPattern, ceil_div
from helicon.gpt.attention.tiles import AttentionTile


@dataclass(frozen=True)
class RowPattern(NumberedSpec):
    """Row pattern: the last W keys and self, which includes part of the row above. `block` is the row by itself."""

    stride: int
    form = "row[:W]"

    def resolve(self, grid_width: int | None) -> AttentionPattern:
        """Return a `LocalPattern` of W + 1 keys, W the `stride`; the grid is not looked at."""
        return LocalPattern(self.stride + 1)


@dataclass(frozen=True)
class ConvPattern(AttentionPattern):
    """Convolutional pattern: the K x K neighbourhood centred on the query, up to self, clipped at the grid's edges."""

    kernel: int
    stride: int
    form = "conv:K[,W]"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel % 2 == 0:
            raise ValueError(f"the kernel K of {self.form} must be odd, so that it has a centre")

    @property
    def radius(self) -> int:
        """Radius of the neighbourhood in tokens: rows above the query, and columns to either side."""
        return self.kernel // 2

    def mask_mod(self, query: Tensor, key: Tensor) -> Tensor:
        rise, shift = query // self.stride - key // self.stride, key % self.stride - query % self.stride
        return (key <= query) & (rise <= self.radius) & (shift.abs() <= self.radius)

    def tiles(self, length: int) -> Iterator[AttentionTile]:
        return pattern_tiles.neighbour_tiles(length, self.stride, self.radius)

    def keys(self, query_B: Tensor, length: int) -> KeyList:
        rows = min(self.radius, ceil_div(length, self.stride) - 1)
        columns = min(self.radius, self.stride - 1)
        rise_D1 = torch.arange(rows + 1, device=query_B.device)[:, None]
        shift_S = torch.arange(-columns, columns + 1, device=query_B.device)
        index_BDS = query_B[:, None, None] - rise_D1 * self.stride + shift_S
        column_B1S = query_B[:, None, None] % self.stride + shift_S
        inside_BDS = (column_B1S >= 0) & (column_B1S < self.stride) & (index_BDS >= 0)
        return index_BDS.flatten(1), (inside_BDS & (index_BDS <= query_B[:, None, None])).flatten(1)


@dataclass(frozen=True)
class UnresolvedPattern:
    """Pattern whose width is still unknown, such as `column`: it becomes the grid's, or dense in a slot without a grid.

    Attributes:
        pattern: class of the pattern.
        numbers: its numbers that come before the width.
    """

    pattern: type[Any]
    numbers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self.pattern(*self.numbers, 1)  # ValueError for numbers that are wrong at any width

    def __str__(self) -> str:
        return self.pattern.written(*self.numbers)

    def resolve(self, grid_width: int | None) -> AttentionPattern:
        """Return the `AttentionPattern` for grid rows of that many tokens; a `DensePattern` for None, no grid."""
        if grid_width is None:
            return DensePattern()
        return self.pattern(*self.numbers, grid_width).resolve(grid_width)
