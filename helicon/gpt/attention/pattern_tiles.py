"""Tiles of attention patterns: of any predicate, and of the stride and grid patterns in closed form.

Shapes: R query rows, K key rows of a tile, T tokens. L is the stride of a pattern: the slot is cut into blocks of L
tokens, and the last block may be shorter. C is the length of a summary, the last C tokens of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from helicon.gpt.attention.tiles import AttentionTile, StridedView

QUERIES = 256  # queries of a tile that is derived from a predicate: bounds the memory of its mask


def predicate_tiles(allowed: Callable[[Tensor, Tensor], Tensor], length: int) -> Iterator[AttentionTile]:
    """Derive tiles from any causal predicate: runs of queries that have keys, against the range of their keys.

    A run lies within QUERIES tokens, so that a mask of all pairs is never in memory.

    Args:
        allowed: (query indices, key indices), integers that broadcast -> bool tensor; False for later keys.
        length: number of tokens of the slot.

    Yields:
        `AttentionTile`s of the slot, with a mask unless all pairs of the tile are allowed.
    """
    for first in range(0, length, QUERIES):
        query_R, key_K = torch.arange(first, min(first + QUERIES, length)), torch.arange(min(first + QUERIES, length))
        mask_RK = allowed(query_R[:, None], key_K)
        edges = torch.nn.functional.pad(mask_RK.any(1).int(), (1, 1)).diff()  # 1 where a run starts, -1 after its end
        for start, stop in zip((edges == 1).nonzero().flatten().tolist(), (edges == -1).nonzero().flatten().tolist()):
            used = mask_RK[start:stop].any(0).nonzero().flatten()
            keys = range(int(used[0]), int(used[-1]) + 1)
            queries = StridedView(size=length, cells=range(1), offsets=range(first + start, first + stop))
            mask = mask_RK[start:stop, keys.start : keys.stop].contiguous()
            yield AttentionTile(
                queries, StridedView(size=length, cells=range(1), offsets=keys), mask_RK=None if mask.all() else mask
            )


def block_tiles(length: int, stride: int) -> Iterator[AttentionTile]:
    """Make tiles of each block with itself, causal.

    Args:
        length: number of tokens of the slot.
        stride: block length L in tokens.

    Yields:
        `AttentionTile`s of the slot.
    """
    for view in _blocks(length, stride):
        yield AttentionTile(view, view, causal=True)


def previous_tiles(length: int, stride: int) -> Iterator[AttentionTile]:
    """Make tiles of each block with the complete block before it.

    Args:
        length: number of tokens of the slot.
        stride: block length L in tokens.

    Yields:
        `AttentionTile`s of the slot.
    """
    for view in _blocks(length, stride, first=1):
        yield AttentionTile(view, _before(view))


def previous_tail_tiles(length: int, stride: int) -> Iterator[AttentionTile]:
    """Make tiles of a sliding window of L tokens with the block before: offset o attends to offsets o + 1 .. L - 1.

    Args:
        length: number of tokens of the slot.
        stride: block length L in tokens.

    Yields:
        `AttentionTile`s of the slot.
    """
    for view in _blocks(length, stride, first=1, high=stride - 1):
        mask_RK = torch.ones(len(view.offsets), stride - 1, dtype=torch.bool).triu()
        yield AttentionTile(view, _before(view, range(1, stride)), mask_RK=mask_RK)


def column_tiles(length: int, stride: int, strict: bool = False) -> Iterator[AttentionTile]:
    """Make tiles of each offset with the same offset of all blocks, causal.

    Args:
        length: number of tokens of the slot.
        stride: block length L in tokens.
        strict: if True, a query does not attend to its own token.

    Yields:
        `AttentionTile`s of the slot.
    """
    complete, rest = divmod(length, stride)
    for offsets, blocks in (range(rest), complete + 1), (range(rest, stride), complete):
        if offsets and blocks > strict:
            queries = StridedView(size=stride, cells=range(int(strict), blocks), offsets=offsets, transposed=True)
            keys = StridedView(size=stride, cells=range(blocks - strict), offsets=offsets, transposed=True)
            yield AttentionTile(queries, keys, causal=True)


def neighbour_tiles(length: int, stride: int, radius: int) -> Iterator[AttentionTile]:
    """Make tiles of a square neighbourhood on a grid with rows of L tokens, up to self.

    Args:
        length: number of tokens of the slot.
        stride: row length L in tokens.
        radius: number of rows above, and of columns to either side.

    Yields:
        `AttentionTile`s of each row with a row 0 .. radius above: column o attends to columns o - radius .. o + radius.
    """
    for rise in range(min(radius, length // stride) + 1):
        for view in _blocks(length, stride, first=rise):
            keys = _before(view, view.offsets if rise == 0 else None, rise)
            shift_RK = torch.arange(len(keys.offsets)) - torch.arange(len(view.offsets))[:, None]
            mask_RK = (shift_RK >= -radius) & (shift_RK <= (radius if rise else 0))
            yield AttentionTile(view, keys, mask_RK=mask_RK)


def own_summary_tiles(length: int, stride: int, width: int) -> Iterator[AttentionTile]:
    """Make tiles of the last C offsets of each block with themselves, causal.

    Args:
        length: number of tokens of the slot.
        stride: block length L in tokens.
        width: summary length C in tokens.

    Yields:
        `AttentionTile`s of the slot.
    """
    for view in _blocks(length, stride, low=stride - width):
        yield AttentionTile(view, view, causal=True)


def earlier_summary_tiles(length: int, stride: int, width: int) -> Iterator[AttentionTile]:
    """Make tiles of all queries with the last C offsets of all earlier blocks.

    By halving: at level s, the second s blocks of each 2s attend to the summaries of the first s. Each pair of blocks
    meets at exactly one level, so log2(T / L) unmasked tiles cover exactly the allowed pairs.

    Args:
        length: number of tokens of the slot.
        stride: block length L in tokens.
        width: summary length C in tokens.

    Yields:
        `AttentionTile`s of the slot.
    """
    half = stride
    while half < length:
        for view in _blocks(length, 2 * half, low=half):
            keys = StridedView(size=2 * half, cells=view.cells, offsets=range(half), summary=(stride, width))
            yield AttentionTile(view, keys)
        half *= 2


def _blocks(length: int, stride: int, first: int = 0, low: int = 0, high: int | None = None) -> Iterator[StridedView]:
    """View offsets low .. high - 1 of the complete blocks from `first` on, then of the incomplete last one, if any."""
    complete, rest = divmod(length, stride)
    top = stride if high is None else high
    for cells, stop in (range(first, complete), top), (range(max(first, complete), complete + 1), min(rest, top)):
        if cells and stop > low:
            yield StridedView(size=stride, cells=cells, offsets=range(low, stop))


def _before(view: StridedView, offsets: range | None = None, by: int = 1) -> StridedView:
    """View as many blocks, `by` blocks earlier: the given offsets, or all."""
    return StridedView(
        size=view.size, cells=range(view.cells.start - by, view.cells.stop - by), offsets=offsets or range(view.size)
    )
