"""Tiles: rectangles of the attention matrix that ordinary attention kernels compute without wasted work.

A sparse pattern is a union of disjoint tiles. A tile selects query rows and key rows as *views* of the sequence, so
that inputs are not copied, and outputs are added directly to the view. The tiles of a pattern cover exactly the pairs
that its predicate allows, and every query row of a tile has a key. `pattern_tiles` makes the tiles of patterns.

Shapes: B batch, H heads, T tokens, D features, K key rows; a view has G groups (folded into the batch) of R rows.
A `summary` keeps the last C of every L rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor


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
        """Number of rows of a group, before `summary` drops some."""
        return len(self.cells if self.transposed else self.offsets)

    def view(self, x_BHTD: Tensor) -> Tensor:
        """View a sequence [B, H, T, D] as [B, G, H, R, D], or [B, G, H, R / L, C, D] with `summary`; never a copy.

        It has H heads, T tokens and D features; the view has G groups of R rows, and `summary` is (L, C).
        """
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
        mask_RK: bool [query rows, key rows], True for allowed pairs; None, without `causal`, allows all.
    """

    queries: StridedView
    keys: StridedView
    causal: bool = False
    mask_RK: Tensor | None = None


def sequence_tiles(slot_tiles: Iterable[AttentionTile], length: int, prefix: int) -> tuple[AttentionTile, ...]:
    """Extend the tiles of a slot to the whole sequence.

    Args:
        slot_tiles: `AttentionTile`s with positions counted from the start of the slot.
        length: tokens T of the sequence, prefix included.
        prefix: number of positions before the slot.

    Returns:
        `AttentionTile`s of the prefix with itself and of the slot with the prefix, then those of the slot behind the
        prefix.
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
        tile: `AttentionTile` of R query rows and K key rows.
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
        rows: number of queries, and of keys.
        device: of the mask.

    Returns:
        Bool [rows, rows], True in the lower triangle, diagonal included.
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
        tiles: `AttentionTile`s of a sequence.
        length: tokens T of the sequence.

    Returns:
        True if no query is in two tiles.
    """
    count_T = torch.zeros(1, 1, length, 1, dtype=torch.int64)
    for tile in tiles:
        tile.queries.view(count_T).add_(1)
    return bool((count_T <= 1).all())
