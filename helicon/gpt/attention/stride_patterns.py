"""Dense attention, and the sparse patterns with a stride.

The factorized ones are Sparse Transformer's (arXiv:1904.10509, section 4.2) and Jukebox's (arXiv:2005.00341, A.2).

L is the stride and C the width of a summary. A window has L keys *including self*, as in the released code; the paper's
text counts L + 1.

Shapes: B batch, K keys of a list, M blocks, C offsets of a summary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from helicon.gpt.attention import pattern_tiles
from helicon.gpt.attention.pattern_base import AttentionPattern, KeyList
from helicon.gpt.attention.tiles import AttentionTile


@dataclass(frozen=True)
class DensePattern(AttentionPattern):
    """Dense causal pattern: all keys up to the query."""

    form = "dense"

    def mask_mod(self, query: Tensor, key: Tensor) -> Tensor:
        return key <= query

    def tiles(self, length: int) -> Iterator[AttentionTile]:
        return pattern_tiles.block_tiles(length, length)

    def keys(self, query_B: Tensor, length: int) -> KeyList:
        index_BK = torch.arange(length, device=query_B.device).expand(len(query_B), -1)
        return index_BK, index_BK <= query_B[:, None]


@dataclass(frozen=True)
class LocalPattern(AttentionPattern):
    """Sliding window: the last L keys, self included."""

    stride: int
    form = "local:L"

    def mask_mod(self, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (key > query - self.stride)

    def tiles(self, length: int) -> Iterator[AttentionTile]:
        yield from pattern_tiles.block_tiles(length, self.stride)
        yield from pattern_tiles.previous_tail_tiles(length, self.stride)

    def keys(self, query_B: Tensor, length: int) -> KeyList:
        index_BK = query_B[:, None] - torch.arange(min(self.stride, length), device=query_B.device)
        return index_BK, index_BK >= 0


@dataclass(frozen=True)
class BlockPattern(AttentionPattern):
    """Block pattern: keys of the query's block of L, up to the query (Jukebox's row attention)."""

    stride: int
    form = "block[:L]"

    def mask_mod(self, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (key // self.stride == query // self.stride)

    def tiles(self, length: int) -> Iterator[AttentionTile]:
        return pattern_tiles.block_tiles(length, self.stride)

    def keys(self, query_B: Tensor, length: int) -> KeyList:
        offset_K = torch.arange(min(self.stride, length), device=query_B.device)
        index_BK = _block_start(query_B, self.stride) + offset_K
        return index_BK, index_BK <= query_B[:, None]


@dataclass(frozen=True)
class PreviousPattern(AttentionPattern):
    """Previous-block pattern: all keys of the block before; none in block 0, where Jukebox attends to zero padding."""

    stride: int
    form = "previous:L"

    def mask_mod(self, query: Tensor, key: Tensor) -> Tensor:
        return key // self.stride == query // self.stride - 1

    def tiles(self, length: int) -> Iterator[AttentionTile]:
        return pattern_tiles.previous_tiles(length, self.stride)

    def keys(self, query_B: Tensor, length: int) -> KeyList:
        offset_K = torch.arange(min(self.stride, length), device=query_B.device)
        index_BK = _block_start(query_B, self.stride) - self.stride + offset_K
        return index_BK, index_BK >= 0


@dataclass(frozen=True)
class ColumnPattern(AttentionPattern):
    """Column pattern: every L-th key back from self (Sparse Transformer's strided factor 2; DALL·E's column)."""

    stride: int
    form = "column[:L]"

    def mask_mod(self, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & ((query - key) % self.stride == 0)

    def tiles(self, length: int) -> Iterator[AttentionTile]:
        return pattern_tiles.column_tiles(length, self.stride)

    def keys(self, query_B: Tensor, length: int) -> KeyList:
        row_K = torch.arange(ceil_div(length, self.stride), device=query_B.device)
        index_BK = query_B[:, None] % self.stride + row_K * self.stride
        return index_BK, index_BK <= query_B[:, None]


@dataclass(frozen=True)
class SummaryPattern(AttentionPattern):
    """Summary pattern: the last C offsets of every block of L, up to the query (Sparse Transformer's fixed 2)."""

    stride: int
    width: int
    form = "summary:L,C"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width > self.stride:
            raise ValueError(f"the summary C of {self.form} must fit in its block L")

    def mask_mod(self, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (key % self.stride >= self.stride - self.width)

    def tiles(self, length: int) -> Iterator[AttentionTile]:
        yield from pattern_tiles.earlier_summary_tiles(length, self.stride, self.width)
        yield from pattern_tiles.own_summary_tiles(length, self.stride, self.width)

    def keys(self, query_B: Tensor, length: int) -> KeyList:
        start_M1 = torch.arange(ceil_div(length, self.stride), device=query_B.device)[:, None] * self.stride
        first = self.stride - self.width
        # No offsets that a slot shorter than one block does not have, but at least one key
        end = min(self.stride, max(length, first + 1))
        offset_C = torch.arange(first, end, device=query_B.device)
        index_BK = (start_M1 + offset_C).flatten().expand(len(query_B), -1)
        return index_BK, index_BK <= query_B[:, None]


@dataclass(frozen=True)
class StridedPattern(AttentionPattern):
    """Strided pattern: `local:L` and `column:L` in one softmax (Sparse Transformer's strided, merged)."""

    stride: int
    form = "strided:L"

    def mask_mod(self, query: Tensor, key: Tensor) -> Tensor:
        return LocalPattern(self.stride).mask_mod(query, key) | ColumnPattern(self.stride).mask_mod(query, key)

    def tiles(self, length: int) -> Iterator[AttentionTile]:
        yield from LocalPattern(self.stride).tiles(length)
        yield from pattern_tiles.column_tiles(length, self.stride, strict=True)

    def keys(self, query_B: Tensor, length: int) -> KeyList:
        near_BK, near_valid_BK = LocalPattern(self.stride).keys(query_B, length)
        far_BK, far_valid_BK = ColumnPattern(self.stride).keys(query_B, length)
        not_self_BK = far_BK < query_B[:, None]
        return torch.cat([near_BK, far_BK], 1), torch.cat([near_valid_BK, far_valid_BK & not_self_BK], 1)


@dataclass(frozen=True)
class FixedPattern(AttentionPattern):
    """Fixed pattern: `block:L` and `summary:L,C` in one softmax (Sparse Transformer's fixed, merged)."""

    stride: int
    width: int
    form = "fixed:L,C"

    def __post_init__(self) -> None:
        super().__post_init__()
        SummaryPattern(self.stride, self.width)  # checks C <= L

    def mask_mod(self, query: Tensor, key: Tensor) -> Tensor:
        return BlockPattern(self.stride).mask_mod(query, key) | SummaryPattern(self.stride, self.width).mask_mod(
            query, key
        )

    def tiles(self, length: int) -> Iterator[AttentionTile]:
        yield from pattern_tiles.block_tiles(length, self.stride)
        yield from pattern_tiles.earlier_summary_tiles(length, self.stride, self.width)

    def keys(self, query_B: Tensor, length: int) -> KeyList:
        own_BK, own_valid_BK = BlockPattern(self.stride).keys(query_B, length)
        far_BK, far_valid_BK = SummaryPattern(self.stride, self.width).keys(query_B, length)
        earlier_BK = far_BK < _block_start(query_B, self.stride)
        return torch.cat([own_BK, far_BK], 1), torch.cat([own_valid_BK, far_valid_BK & earlier_BK], 1)


def _block_start(query_B: Tensor, stride: int) -> Tensor:
    """Return the first index of each query's block: [B] -> [B, 1]."""
    return (query_B - query_B % stride)[:, None]


def ceil_div(length: int, stride: int) -> int:
    """Divide, rounding up.

    Args:
        length: number of tokens.
        stride: number of tokens of a block.

    Returns:
        Number of blocks, an int, an incomplete one included.
    """
    return -(-length // stride)
