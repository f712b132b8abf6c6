"""KV cache: keys and values of past tokens, one pair per layer, in buffers of the whole context's size.

Shapes: B batch, H heads, T tokens that fit, D head width.
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

HEAD_MULTIPLE = 16  # numbers that a head is padded to: 64 bytes of float32, one cache line


class Positions(NamedTuple):
    """Write positions of a decode step.

    Attributes:
        position_B: int64, position of each row's new token in its sequence, from 0.
        kv_length: exclusive upper bound of the positions.
        aligned: True if all positions are known to be kv_length - 1, which spares masks. Looked at on a CPU only: on
            a GPU that would synchronise.
    """

    position_B: Tensor
    kv_length: int
    aligned: bool

    @classmethod
    def of(cls, position_B: Tensor, kv_length: int | None = None) -> Positions:
        """Derive the fields that are not known from the positions.

        Args:
            position_B: int64, position of each row's new token in its sequence, from 0.
            kv_length: exclusive upper bound of the positions; None looks for it, which synchronises with a GPU.

        Returns:
            `Positions` with all three fields.
        """
        kv_length = int(position_B.max()) + 1 if kv_length is None else kv_length
        aligned = position_B.device.type == "cpu" and bool((position_B == kv_length - 1).all())
        return cls(position_B, kv_length, aligned)


class Cache:
    """Ragged KV cache [layers, 2, B, H, T, D]. Entries past a row's position are masked, but must be finite.

    Args:
        layers: of the GPT.
        batch: rows B.
        heads: H.
        length: tokens T that fit.
        head_width: D of the values; narrower keys are padded with zeros.
        device: of the buffers.
        dtype: of the buffers.
    """

    def __init__(
        self, layers: int, batch: int, heads: int, length: int, head_width: int,
        device: torch.device | str, dtype: torch.dtype,
    ) -> None:  # fmt: skip
        self.kv = _zeros((layers, 2, batch, heads, length, head_width), torch.device(device), dtype)

    def widen(self) -> None:
        """Replace the buffers by zeros of float32 or wider, which PyTorch's CPU products read twice as fast as bf16.

        Heads are padded with zeros to a multiple of HEAD_MULTIPLE: MKL's order of summation depends on the alignment
        of its operands, and results would depend on a row's place in the batch.
        """
        *shape, width = self.kv.shape
        dtype = torch.promote_types(self.kv.dtype, torch.float32)
        self.kv = _zeros((*shape, width + -width % HEAD_MULTIPLE), self.kv.device, dtype)

    def select_rows(self, rows: slice | Tensor, length: int) -> Cache:
        """Select rows of the batch.

        Args:
            rows: a slice, or row indices, int64.
            length: first tokens of each row to copy, for indices; a slice keeps all tokens.

        Returns:
            A `Cache` that shares memory with this one for a slice, and is a copy for indices.
        """
        selected = copy(self)
        is_view = isinstance(rows, slice)
        selected.kv = self.kv[:, :, rows] if is_view else self.kv[..., :length, :].index_select(2, rows)
        return selected

    @property
    def length(self) -> int:
        """Number of tokens T that fit in a row."""
        return self.kv.shape[4]

    def layer(self, layer: int) -> tuple[Tensor, Tensor]:
        """Return the keys and the values of the layer with that index, each a view [B, H, T, D].

        H is the number of heads, T the tokens that fit, and D the head width.
        """
        return self.kv[layer, 0], self.kv[layer, 1]

    def store(self, layer: int, k_BHTD: Tensor, v_BHTD: Tensor) -> None:
        """Write the first positions of all rows (prefill).

        Args:
            layer: index of the layer.
            k_BHTD: keys of H heads of width D at positions 0 .. T-1, T at most `length`.
            v_BHTD: their values.
        """
        length, width = v_BHTD.shape[2:]
        self.kv[layer, 0, :, :, :length, :width] = k_BHTD
        self.kv[layer, 1, :, :, :length, :width] = v_BHTD

    def store_at(self, layer: int, k_BHD: Tensor, v_BHD: Tensor, positions: Positions) -> None:
        """Write one position per row (decode step).

        Args:
            layer: index of the layer.
            k_BHD: keys of the new tokens, one per row, of H heads of width D.
            v_BHD: their values.
            positions: `Positions` to write to.
        """
        kv, batch = self.kv[layer, ..., : v_BHD.shape[-1]], torch.arange(len(k_BHD), device=k_BHD.device)
        for buffer, new in zip(kv, (k_BHD, v_BHD)):
            if positions.aligned:
                buffer[:, :, positions.kv_length - 1] = new
            else:
                buffer[batch, :, positions.position_B] = new.to(buffer.dtype)

    def move_row(self, row: int, to: int, length: int) -> None:
        """Copy the first tokens of a row over those of another row.

        Args:
            row: index of the row to read.
            to: index of the row to overwrite, which is free.
            length: number of tokens to copy.
        """
        self.kv[:, :, to, :, :length] = self.kv[:, :, row, :, :length]

    def copy_rows(self, other: Cache, source_rows: Sequence[int], rows: Sequence[int] | None = None) -> None:
        """Copy rows from another cache.

        Args:
            other: `Cache` to read, no longer than this one.
            source_rows: row indices in `other`; a row may be copied more than once.
            rows: indices of the rows of this cache to overwrite, one for each of those, in order; None for all.
        """
        index = torch.tensor(source_rows, device=self.kv.device)
        to = slice(None) if rows is None else torch.tensor(rows, device=self.kv.device)
        self.kv[:, :, to, :, : other.length, : other.kv.shape[-1]] = other.kv.index_select(2, index).to(self.kv.dtype)


def _zeros(shape: Sequence[int], device: torch.device, dtype: torch.dtype) -> Tensor:
    """Allocate zeros; on a CPU as anonymous pages, which take memory only once tokens are written to them."""
    if device.type != "cpu":
        return torch.zeros(tuple(shape), device=device, dtype=dtype)
    size = max(1, math.prod(shape) * dtype.itemsize)
    private = {} if sys.platform == "win32" else {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS}
    pages = torch.frombuffer(mmap.mmap(-1, size, **private), dtype=torch.uint8)
    return pages[: math.prod(shape) * dtype.itemsize].view(dtype).view(*shape)
