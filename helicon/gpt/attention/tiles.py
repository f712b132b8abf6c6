"""Tiles: rectangles of the attention matrix that ordinary attention kernels compute without wasted work.

A sparse pattern is a union of disjoint tiles. A tile selects query rows and key rows as *views* of the sequence, so
that inputs are not copied, and outputs are added directly to the view. The tiles of a pattern cover exactly the pairs
that its predicate allows, and every query row of a tile has a key.

Shapes: B batch, H heads, T tokens, D features, K key rows; a view has G groups (folded into the batch) of R rows.
L is the stride of a pattern: the slot is cut into blocks of L tokens, and the last block may be shorter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

QUERIES = 256  # queries of a tile that is derived from a predicate: bounds the memory of its mask


@dataclass(frozen=True, kw_only=True)
class StridedView:
    """View of chosen rows of a sequence, which is cut into cells of equal size; each cell is a group.

    Attributes:
        size: tokens of a cell.
        cells: indices of the chosen cells.
        offsets: chosen offsets within a cell.
        transposed: if True, each offset is a group, with one row per cell.
        summary: (L, C) keeps the last C of every L rows.
        origin: position of the first token of cell 0.
    """

    size: int
    cells: range
    offsets: range
    transposed: bool = False
    summary: tuple[int, int] | None = None
    origin: int = 0

    @property
    def groups(self) -> int:
        """Number of groups G."""
        return len(self.offsets if self.transposed else self.cells)

    @property
    def rows(self) -> int:
        """Rows of a group, before `summary`."""
        return len(self.cells if self.transposed else self.offsets)

    def view(self, x_BHTD: Tensor) -> Tensor:
        """View a sequence [B, H, T, D] as [B, G, H, R, D], or [B, G, H, R / L, C, D] with `summary`; never a copy."""
        start = self.origin + self.cells.start * self.size + self.offsets.start
        stop = self.origin + (self.cells.stop - 1) * self.size + self.offsets.stop
        x_BHcDo = x_BHTD[:, :, start:stop].unfold(2, len(self.offsets), self.size)
        if self.transposed:
            return x_BHcDo.permute(0, 4, 1, 2, 3)
        x_BcHoD = x_BHcDo.permute(0, 2, 1, 4, 3)
        if self.summary is None:
            return x_BcHoD
        stride, width = self.summary
        return x_BcHoD.unflatten(3, (-1, stride))[..., stride - width :, :]


@dataclass(frozen=True, eq=False)
class AttentionTile:
    """Attention of each group's queries to its keys.

    Attributes:
        queries: query rows.
        keys: key rows, in as many groups.
        causal: if True, query row r attends to key rows 0..r. Then there are as many queries as keys: kernels differ
            in how they align the diagonal otherwise.
        mask_RK: True for allowed pairs; None, without `causal`, allows all.
    """

    queries: StridedView
    keys: StridedView
    causal: bool = False
    mask_RK: Tensor | None = None


def sequence_tiles(slot_tiles: Iterable[AttentionTile], length: int, prefix: int) -> tuple[AttentionTile, ...]:
    """Extend the tiles of a slot to the whole sequence.

    Args:
        slot_tiles: tiles with positions counted from the start of the slot.
        length: tokens T of the sequence.
        prefix: positions before the slot.

    Returns:
        Tiles of the prefix with itself and of the slot with the prefix, then the slot's tiles behind the prefix.
    """
    if prefix == 0:
        return tuple(slot_tiles)
    before = StridedView(size=prefix, cells=range(1), offsets=range(prefix))
    after = StridedView(size=length - prefix, cells=range(1), offsets=range(length - prefix), origin=prefix)
    moved = (
        replace(tile, queries=replace(tile.queries, origin=prefix), keys=replace(tile.keys, origin=prefix))
        for tile in slot_tiles
    )
    return AttentionTile(before, before, causal=True), AttentionTile(after, before), *moved


def tile_mask(tile: AttentionTile, device: torch.device) -> Tensor | None:
    """Return a tile's mask on a device.

    Args:
        tile: the tile.
        device: of the mask.

    Returns:
        True for allowed pairs, bool [R, K]; None if all are allowed.
    """
    if tile.causal:
        return causal_mask(tile.queries.rows, device)
    return None if tile.mask_RK is None else _mask_on(tile, device)


@lru_cache(maxsize=64)
def causal_mask(rows: int, device: torch.device) -> Tensor:
    """Make a causal mask. Cached, and shared by all tiles of that size.

    Args:
        rows: queries, and keys.
        device: of the mask.

    Returns:
        Lower triangle, bool [rows, rows].
    """
    with torch.inference_mode(False):  # a cached mask may first be used in generation, and later in training
        return torch.ones(rows, rows, dtype=torch.bool, device=device).tril()


@lru_cache(maxsize=64)
def _mask_on(tile: AttentionTile, device: torch.device) -> Tensor:
    """Copy a tile's mask to a device, once."""
    assert tile.mask_RK is not None
    with torch.inference_mode(False):
        return tile.mask_RK.to(device)


def disjoint(tiles: Sequence[AttentionTile], length: int) -> bool:
    """Check that no query is in two tiles, so that each tile is a complete softmax.

    Args:
        tiles: tiles of a sequence.
        length: tokens T of the sequence.

    Returns:
        True if no query is in two tiles.
    """
    count_T = torch.zeros(1, 1, length, 1, dtype=torch.int64)
    for tile in tiles:
        tile.queries.view(count_T).add_(1)
    return bool((count_T <= 1).all())


def predicate_tiles(allowed: Callable[[Tensor, Tensor], Tensor], length: int) -> Iterator[AttentionTile]:
    """Derive tiles from any causal predicate: runs of queries that have keys, against the range of their keys.

    A run lies within QUERIES tokens, so that a mask of all pairs is never in memory.

    Args:
        allowed: predicate of integer query and key indices that broadcast; False for later keys.
        length: tokens of the slot.

    Yields:
        Tiles of the slot, with a mask unless all pairs of the tile are allowed.
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
        length: tokens of the slot.
        stride: block length L.

    Yields:
        Tiles of the slot.
    """
    for view in _blocks(length, stride):
        yield AttentionTile(view, view, causal=True)


def previous_tiles(length: int, stride: int) -> Iterator[AttentionTile]:
    """Make tiles of each block with the complete block before it.

    Args:
        length: tokens of the slot.
        stride: block length L.

    Yields:
        Tiles of the slot.
    """
    for view in _blocks(length, stride, first=1):
        yield AttentionTile(view, _before(view))


def previous_tail_tiles(length: int, stride: int) -> Iterator[AttentionTile]:
    """Make tiles of a sliding window of L tokens with the block before: offset o attends to offsets o + 1 .. L - 1.

    Args:
        length: tokens of the slot.
        stride: block length L.

    Yields:
        Tiles of the slot.
    """
    for view in _blocks(length, stride, first=1, high=stride - 1):
        mask_RK = torch.ones(len(view.offsets), stride - 1, dtype=torch.bool).triu()
        yield AttentionTile(view, _before(view, range(1, stride)), mask_RK=mask_RK)


def column_tiles(length: int, stride: int, strict: bool = False) -> Iterator[AttentionTile]:
    """Make tiles of each offset with the same offset of all blocks, causal.

    Args:
        length: tokens of the slot.
        stride: block length L.
        strict: if True, a query does not attend to its own token.

    Yields:
        Tiles of the slot.
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
        length: tokens of the slot.
        stride: block length L.
        radius: rows above, and columns to either side.

    Yields:
        Tiles of each row with a row 0 .. radius above: column o attends to columns o - radius .. o + radius.
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
        length: tokens of the slot.
        stride: block length L.
        width: summary length C.

    Yields:
        Tiles of the slot.
    """
    for view in _blocks(length, stride, low=stride - width):
        yield AttentionTile(view, view, causal=True)


def earlier_summary_tiles(length: int, stride: int, width: int) -> Iterator[AttentionTile]:
    """Make tiles of all queries with the last C offsets of all earlier blocks.

    By halving: at level s, the second s blocks of each 2s attend to the summaries of the first s. Each pair of blocks
    meets at exactly one level, so log2(T / L) unmasked tiles cover exactly the allowed pairs.

    Args:
        length: tokens of the slot.
        stride: block length L.
        width: summary length C.

    Yields:
        Tiles of the slot.
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
