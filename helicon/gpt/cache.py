"""Keys and values of the tokens seen so far, one pair a layer, in a place of the whole context's size.

Shapes: B batch, H heads, T tokens at most, D head width.
"""

from __future__ import annotations

import math
import mmap
import sys
from collections.abc import Sequence
from copy import copy
from typing import NamedTuple

import torch
from torch import Tensor

ALIGNED = 16  # numbers: 64 bytes of float32


class Positions(NamedTuple):
    """Where each row's new token stands: [B], a number that none of them reaches, and whether all are just below it.

    `aligned` is found out on a CPU alone, where it spares masks: a GPU would have to be waited for.
    """

    position_B: Tensor
    kv_length: int
    aligned: bool

    @classmethod
    def of(cls, position_B: Tensor, reach: int | None = None) -> Positions:
        """`kv_length` spares a GPU the wait for the largest position."""
        reach = int(position_B.max()) + 1 if reach is None else reach
        together = position_B.device.type == "cpu" and bool((position_B == reach - 1).all())
        return cls(position_B, reach, together)


class Cache:
    """Rows stand at their own positions; what lies beyond a row's position has no weight, but has to be a number."""

    def __init__(
        self, layers: int, batch: int, heads: int, length: int, head_width: int,
        device: torch.device | str, dtype: torch.dtype,
    ) -> None:  # fmt: skip
        self.kv = _zeros((layers, 2, batch, heads, length, head_width), torch.device(device), dtype)

    def widen(self) -> None:
        """Has an empty cache keep float32, which PyTorch's products on a CPU read twice as fast as bfloat16.

        Heads are filled up with zeros to whole ALIGNED numbers: MKL chooses its sums by where in memory they begin.
        """
        *shape, width = self.kv.shape
        dtype = torch.promote_types(self.kv.dtype, torch.float32)
        self.kv = _zeros((*shape, width + -width % ALIGNED), self.kv.device, dtype)

    def rows(self, rows: slice | Tensor, length: int) -> Cache:
        """Some rows, of so many tokens: a view where they are a slice, else a copy."""
        part = copy(self)
        whole = isinstance(rows, slice)
        part.kv = self.kv[:, :, rows] if whole else self.kv[..., :length, :].index_select(2, rows)
        return part

    @property
    def length(self) -> int:
        """Tokens that fit."""
        return self.kv.shape[4]

    def layer(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values [B, H, T, D] of a layer."""
        return self.kv[layer, 0], self.kv[layer, 1]

    def store(self, layer: int, k_BHTD: Tensor, v_BHTD: Tensor) -> None:
        """Writes positions 0 .. T-1 (prefill)."""
        length, width = v_BHTD.shape[2:]
        self.kv[layer, 0, :, :, :length, :width] = k_BHTD
        self.kv[layer, 1, :, :, :length, :width] = v_BHTD

    def store_at(self, layer: int, k_BHD: Tensor, v_BHD: Tensor, places: Positions) -> None:
        """Writes one position a row."""
        kv, batch = self.kv[layer, ..., : v_BHD.shape[-1]], torch.arange(len(k_BHD), device=k_BHD.device)
        for kept, new in zip(kv, (k_BHD, v_BHD)):
            if places.aligned:
                kept[:, :, places.kv_length - 1] = new
            else:
                kept[batch, :, places.position_B] = new.to(kept.dtype)

    def move_row(self, row: int, to: int, length: int) -> None:
        """Writes the first `length` tokens of a row over those of another, whose slot is free."""
        self.kv[:, :, to, :, :length] = self.kv[:, :, row, :, :length]

    def copy_rows(self, other: Cache, which: Sequence[int], rows: Sequence[int] | None = None) -> None:
        """Makes rows, all unless given, what rows `which` of another cache, no longer than this one, are."""
        index = torch.tensor(which, device=self.kv.device)
        to = slice(None) if rows is None else torch.tensor(rows, device=self.kv.device)
        self.kv[:, :, to, :, : other.length, : other.kv.shape[-1]] = other.kv.index_select(2, index).to(self.kv.dtype)


def _zeros(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> Tensor:
    """On a CPU, pages that take memory when they are first written to: few tokens of a long context take little."""
    if device.type != "cpu":
        return torch.zeros(tuple(shape), device=device, dtype=dtype)
    size = max(1, math.prod(shape) * dtype.itemsize)
    private = {} if sys.platform == "win32" else {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS}
    pages = torch.frombuffer(mmap.mmap(-1, size, **private), dtype=torch.uint8)
    return pages[: math.prod(shape) * dtype.itemsize].view(dtype).view(*shape)
