"""Tiles: rectangles of an attention matrix that plain kernels compute without wasted work.

A sparse pattern is a union of disjoint tiles. Each names some query rows and some key rows as *views* of the sequence,
so nothing is copied on the way in, and what a kernel returns is added straight into the view on the way out.
The tiles of a pattern cover exactly the pairs its predicate allows, and no row of a tile is without a key.

Shapes: B batch, H heads, T tokens, D features; a view has G groups (folded into the batch) of R rows.
L is the stride of a pattern: the slot is cut into blocks of L tokens, the last of which may be ragged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

QUERIES = 256  # of a tile that is derived from a predicate


@dataclass(frozen=True, kw_only=True)
class StridedView:
    """Some offsets of some cells, a cell being `size` tokens, from `origin` on: a group a cell.

    `transposed`: a group an offset. `summary=(L, C)` keeps of each stretch of L rows the last C.
    """

    size: int
    cells: range
    offsets: range
    transposed: bool = False
    summary: tuple[int, int] | None = None
    origin: int = 0

    @property
    def groups(self) -> int:
        """How many there are."""
        return len(self.offsets if self.transposed else self.cells)

    @property
    def rows(self) -> int:
        """Rows of each, whole."""
        return len(self.cells if self.transposed else self.offsets)

    def view(self, x_BHTD: Tensor) -> Tensor:
        """[B, H, T, D] -> [B, G, H, R, D], or [B, G, H, R / L, C, D] of a summary; always a view."""
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
    """Every group's queries against its keys: all of them, or row r sees keys 0..r (`causal`), or a boolean mask.

    As many queries as keys where it is causal: kernels differ in what it means elsewhere.
    """

    queries: StridedView
    keys: StridedView
    causal: bool = False
    mask_RK: Tensor | None = None


def sequence_tiles(slot_tiles: Iterable[AttentionTile], length: int, prefix: int) -> tuple[AttentionTile, ...]:
    """The tiles of a slot, moved behind its prefix; before them, the prefix itself, and the slot's rows against it."""
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
    """Whether each query row sees each key, bool [R, K] there; None: all do."""
    if tile.causal:
        return causal_mask(tile.queries.rows, device)
    return None if tile.mask_RK is None else _moved(tile, device)


@lru_cache(maxsize=64)
def causal_mask(rows: int, device: torch.device) -> Tensor:
    """bool [rows, rows], the same for all tiles and lengths."""
    with torch.inference_mode(False):  # it may be seen first while generating, and then be trained with
        return torch.ones(rows, rows, dtype=torch.bool, device=device).tril()


@lru_cache(maxsize=64)
def _moved(tile: AttentionTile, device: torch.device) -> Tensor:
    assert tile.mask_RK is not None
    with torch.inference_mode(False):
        return tile.mask_RK.to(device)


def disjoint(tiles: Sequence[AttentionTile], length: int) -> bool:
    """Whether no query is in two of the tiles: then each is a softmax of its own."""
    times_T = torch.zeros(1, 1, length, 1, dtype=torch.int64)
    for tile in tiles:
        tile.queries.view(times_T).add_(1)
    return bool((times_T <= 1).all())


def predicate_tiles(allowed: Callable[[Tensor, Tensor], Tensor], length: int) -> Iterator[AttentionTile]:
    """Of any causal predicate: each stretch of queries that see anything, against the keys from first to last seen.

    A stretch lies in one block of QUERIES tokens, so that no mask of all pairs is ever in memory.
    """
    for first in range(0, length, QUERIES):
        query_R, key_K = torch.arange(first, min(first + QUERIES, length)), torch.arange(min(first + QUERIES, length))
        mask_RK = allowed(query_R[:, None], key_K)
        seeing = torch.nn.functional.pad(mask_RK.any(1).int(), (1, 1)).diff()
        for start, stop in zip((seeing == 1).nonzero().flatten().tolist(), (seeing == -1).nonzero().flatten().tolist()):
            seen = mask_RK[start:stop].any(0).nonzero().flatten()
            keys = range(int(seen[0]), int(seen[-1]) + 1)
            queries = StridedView(size=length, cells=range(1), offsets=range(first + start, first + stop))
            mask = mask_RK[start:stop, keys.start : keys.stop].contiguous()
            yield AttentionTile(
                queries, StridedView(size=length, cells=range(1), offsets=keys), mask_RK=None if mask.all() else mask
            )


def block_tiles(length: int, stride: int) -> Iterator[AttentionTile]:
    """Each block, causal."""
    for view in _blocks(length, stride):
        yield AttentionTile(view, view, causal=True)


def previous_tiles(length: int, stride: int) -> Iterator[AttentionTile]:
    """Each block against the whole block before it."""
    for view in _blocks(length, stride, first=1):
        yield AttentionTile(view, _before(view))


def previous_tail_tiles(length: int, stride: int) -> Iterator[AttentionTile]:
    """What a window of L tokens reaches in the block before: offset o sees offsets o + 1 .. L - 1."""
    for view in _blocks(length, stride, first=1, high=stride - 1):
        mask_RK = torch.ones(len(view.offsets), stride - 1, dtype=torch.bool).triu()
        yield AttentionTile(view, _before(view, range(1, stride)), mask_RK=mask_RK)


def column_tiles(length: int, stride: int, strict: bool = False) -> Iterator[AttentionTile]:
    """Each offset across the blocks, causal; `strict` leaves out the query's own token."""
    whole, rest = divmod(length, stride)
    for offsets, blocks in (range(rest), whole + 1), (range(rest, stride), whole):
        if offsets and blocks > strict:
            queries = StridedView(size=stride, cells=range(int(strict), blocks), offsets=offsets, transposed=True)
            keys = StridedView(size=stride, cells=range(blocks - strict), offsets=offsets, transposed=True)
            yield AttentionTile(queries, keys, causal=True)


def neighbour_tiles(length: int, stride: int, reach: int) -> Iterator[AttentionTile]:
    """Each block against itself and each of the `reach` before it: offset o sees o - reach .. o + reach, up to self."""
    for rise in range(min(reach, length // stride) + 1):
        for view in _blocks(length, stride, first=rise):
            keys = _before(view, view.offsets if rise == 0 else None, rise)
            shift_RK = torch.arange(len(keys.offsets)) - torch.arange(len(view.offsets))[:, None]
            mask_RK = (shift_RK >= -reach) & (shift_RK <= (reach if rise else 0))
            yield AttentionTile(view, keys, mask_RK=mask_RK)


def own_summary_tiles(length: int, stride: int, width: int) -> Iterator[AttentionTile]:
    """The last C offsets of each block among themselves, causal."""
    for view in _blocks(length, stride, low=stride - width):
        yield AttentionTile(view, view, causal=True)


def earlier_summary_tiles(length: int, stride: int, width: int) -> Iterator[AttentionTile]:
    """Every query against the last C offsets of all earlier blocks.

    Halving: at level s, the second s blocks of each 2s see the summaries of the first s. Every pair of blocks meets at
    exactly one level, so log2(T / L) unmasked tiles do exact work with no mask of T rows.
    """
    half = stride
    while half < length:
        for view in _blocks(length, 2 * half, low=half):
            keys = StridedView(size=2 * half, cells=view.cells, offsets=range(half), summary=(stride, width))
            yield AttentionTile(view, keys)
        half *= 2


def _blocks(length: int, stride: int, first: int = 0, low: int = 0, high: int | None = None) -> Iterator[StridedView]:
    """Offsets low .. high - 1 of the whole blocks from `first` on, then those of the ragged last block, if any."""
    whole, rest = divmod(length, stride)
    top = stride if high is None else high
    for cells, stop in (range(first, whole), top), (range(max(first, whole), whole + 1), min(rest, top)):
        if cells and stop > low:
            yield StridedView(size=stride, cells=cells, offsets=range(low, stop))


def _before(view: StridedView, offsets: range | None = None, by: int = 1) -> StridedView:
    """The same number of blocks, `by` earlier, whole unless told."""
    return StridedView(
        size=view.size, cells=range(view.cells.start - by, view.cells.stop - by), offsets=offsets or range(view.size)
    )
