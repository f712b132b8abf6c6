"""Folds: rectangles of an attention matrix that plain kernels compute without wasted work.

A sparse pattern is a union of disjoint folds. Each names some query rows and some key rows as *views* of the sequence,
so nothing is copied on the way in, and what a kernel returns is added straight into the view on the way out.
The folds of a pattern cover exactly the pairs its predicate allows, and no row of a fold is without a key.

Shapes: B batch, H heads, T tokens, D features; a view has G groups (folded into the batch) of R rows.
L is the stride of a pattern: the slot is cut into blocks of L tokens, the last of which may be ragged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tile:
    """Some offsets of some cells, a cell being `size` tokens, from `origin` on: a group a cell, or `across`, an offset.

    `summary=(L, C)` keeps of each stretch of L rows the last C.
    """

    size: int
    cells: range
    offsets: range
    across: bool = False
    summary: tuple[int, int] | None = None
    origin: int = 0

    @property
    def groups(self) -> int:
        """How many there are."""
        return len(self.offsets if self.across else self.cells)

    @property
    def rows(self) -> int:
        """Rows of each, whole."""
        return len(self.cells if self.across else self.offsets)

    def view(self, x_BHTD: Tensor) -> Tensor:
        """[B, H, T, D] -> [B, G, H, R, D], or [B, G, H, R / L, C, D] of a summary; always a view."""
        start = self.origin + self.cells.start * self.size + self.offsets.start
        stop = self.origin + (self.cells.stop - 1) * self.size + self.offsets.stop
        x_BHcDo = x_BHTD[:, :, start:stop].unfold(2, len(self.offsets), self.size)
        if self.across:
            return x_BHcDo.permute(0, 4, 1, 2, 3)
        x_BcHoD = x_BHcDo.permute(0, 2, 1, 4, 3)
        if self.summary is None:
            return x_BcHoD
        stride, width = self.summary
        return x_BcHoD.unflatten(3, (-1, stride))[..., stride - width :, :]


@dataclass(frozen=True, eq=False)
class Fold:
    """Every group's queries against its keys: all of them, or row r sees keys 0..r (`causal`), or a boolean mask.

    As many queries as keys where it is causal: kernels differ in what it means elsewhere.
    """

    queries: Tile
    keys: Tile
    causal: bool = False
    mask_RK: Tensor | None = None


def sequence_folds(slot_folds: Iterable[Fold], length: int, prefix: int) -> tuple[Fold, ...]:
    """The folds of a slot, moved behind its prefix; before them, the prefix itself, and the slot's rows against it."""
    if prefix == 0:
        return tuple(slot_folds)
    before = Tile(prefix, range(1), range(prefix))
    after = Tile(length - prefix, range(1), range(length - prefix), origin=prefix)
    moved = (
        replace(fold, queries=replace(fold.queries, origin=prefix), keys=replace(fold.keys, origin=prefix))
        for fold in slot_folds
    )
    return Fold(before, before, causal=True), Fold(after, before), *moved


def fold_mask(fold: Fold, device: torch.device) -> Tensor | None:
    """Whether each query row sees each key, bool [R, K] there; None: all do."""
    if fold.causal:
        return causal_mask(fold.queries.rows, device)
    return None if fold.mask_RK is None else _moved(fold, device)


@lru_cache(maxsize=64)
def causal_mask(rows: int, device: torch.device) -> Tensor:
    """bool [rows, rows], the same for all folds and lengths."""
    with torch.inference_mode(False):  # it may be seen first while generating, and then be trained with
        return torch.ones(rows, rows, dtype=torch.bool, device=device).tril()


@lru_cache(maxsize=64)
def _moved(fold: Fold, device: torch.device) -> Tensor:
    assert fold.mask_RK is not None
    with torch.inference_mode(False):
        return fold.mask_RK.to(device)


def apart(folds: Sequence[Fold], length: int) -> bool:
    """Whether no query is in two of the folds: then each is a softmax of its own."""
    times_T = torch.zeros(1, 1, length, 1, dtype=torch.int64)
    for fold in folds:
        fold.queries.view(times_T).add_(1)
    return bool((times_T <= 1).all())


def block_folds(length: int, stride: int) -> Iterator[Fold]:
    """Each block, causal."""
    for tile in _blocks(length, stride):
        yield Fold(tile, tile, causal=True)


def previous_folds(length: int, stride: int) -> Iterator[Fold]:
    """Each block against the whole block before it."""
    for tile in _blocks(length, stride, first=1):
        yield Fold(tile, _before(tile))


def previous_tail_folds(length: int, stride: int) -> Iterator[Fold]:
    """What a window of L tokens reaches in the block before: offset o sees offsets o + 1 .. L - 1."""
    for tile in _blocks(length, stride, first=1, high=stride - 1):
        mask_RK = torch.ones(len(tile.offsets), stride - 1, dtype=torch.bool).triu()
        yield Fold(tile, _before(tile, range(1, stride)), mask_RK=mask_RK)


def column_folds(length: int, stride: int, strict: bool = False) -> Iterator[Fold]:
    """Each offset across the blocks, causal; `strict` leaves out the query's own token."""
    whole, rest = divmod(length, stride)
    for offsets, blocks in (range(rest), whole + 1), (range(rest, stride), whole):
        if offsets and blocks > strict:
            queries = Tile(stride, range(int(strict), blocks), offsets, across=True)
            keys = Tile(stride, range(blocks - strict), offsets, across=True)
            yield Fold(queries, keys, causal=True)


def neighbour_folds(length: int, stride: int, reach: int) -> Iterator[Fold]:
    """Each block against itself and each of the `reach` before it: offset o sees o - reach .. o + reach, up to self."""
    for rise in range(min(reach, length // stride) + 1):
        for tile in _blocks(length, stride, first=rise):
            keys = _before(tile, tile.offsets if rise == 0 else None, rise)
            shift_RK = torch.arange(len(keys.offsets)) - torch.arange(len(tile.offsets))[:, None]
            mask_RK = (shift_RK >= -reach) & (shift_RK <= (reach if rise else 0))
            yield Fold(tile, keys, mask_RK=mask_RK)


def own_summary_folds(length: int, stride: int, width: int) -> Iterator[Fold]:
    """The last C offsets of each block among themselves, causal."""
    for tile in _blocks(length, stride, low=stride - width):
        yield Fold(tile, tile, causal=True)


def earlier_summary_folds(length: int, stride: int, width: int) -> Iterator[Fold]:
    """Every query against the last C offsets of all earlier blocks.

    Halving: at level s, the second s blocks of each 2s see the summaries of the first s. Every pair of blocks meets at
    exactly one level, so log2(T / L) unmasked folds do exact work with no mask of T rows.
    """
    half = stride
    while half < length:
        for tile in _blocks(length, 2 * half, low=half):
            keys = Tile(2 * half, tile.cells, range(half), summary=(stride, width))
            yield Fold(tile, keys)
        half *= 2


def _blocks(length: int, stride: int, first: int = 0, low: int = 0, high: int | None = None) -> Iterator[Tile]:
    """Offsets low .. high - 1 of the whole blocks from `first` on, then those of the ragged last block, if any."""
    whole, rest = divmod(length, stride)
    top = stride if high is None else high
    for cells, stop in (range(first, whole), top), (range(max(first, whole), whole + 1), min(rest, top)):
        if cells and stop > low:
            yield Tile(stride, cells, range(low, stop))


def _before(tile: Tile, offsets: range | None = None, by: int = 1) -> Tile:
    """The same number of blocks, `by` earlier, whole unless told."""
    return Tile(tile.size, range(tile.cells.start - by, tile.cells.stop - by), offsets or range(tile.size))
