"""Keys and values of the tokens seen so far, preallocated, one pair a layer.

Shapes: B batch, H heads, T tokens at most, D head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Places(NamedTuple):
    """Where each row's new token stands: [B], a number that none of them reaches, and whether all are just below it.

    `together` is found out on a CPU alone, where it spares masks: a GPU would have to be waited for.
    """

    position_B: Tensor
    reach: int
    together: bool

    @classmethod
    def of(cls, position_B: Tensor, reach: int | None = None) -> Places:
        """`reach` spares a GPU the wait for the largest position."""
        reach = int(position_B.max()) + 1 if reach is None else reach
        together = position_B.device.type == "cpu" and bool((position_B == reach - 1).all())
        return cls(position_B, reach, together)


class Cache:
    """Rows stand at their own positions; what lies beyond a row's position has no weight, but has to be a number."""

    def __init__(
        self, layers: int, batch: int, heads: int, length: int, head_width: int,
        device: torch.device | str, dtype: torch.dtype,
    ) -> None:  # fmt: skip
        shape = (layers, 2, batch, heads, length, head_width)
        self.kv = torch.zeros(shape, device=device, dtype=dtype)

    def widen(self) -> None:
        """Keeps what it is given in float32, which PyTorch's products on a CPU read twice as fast as bfloat16."""
        self.kv = self.kv.to(torch.promote_types(self.kv.dtype, torch.float32))

    @property
    def length(self) -> int:
        """Tokens that fit."""
        return self.kv.shape[4]

    def layer(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values [B, H, T, D] of a layer."""
        return self.kv[layer, 0], self.kv[layer, 1]

    def store(self, layer: int, k_BHTD: Tensor, v_BHTD: Tensor) -> None:
        """Writes positions 0 .. T-1 (prefill)."""
        self.kv[layer, 0, :, :, : k_BHTD.shape[2]] = k_BHTD
        self.kv[layer, 1, :, :, : v_BHTD.shape[2]] = v_BHTD

    def store_at(self, layer: int, k_BHD: Tensor, v_BHD: Tensor, places: Places) -> None:
        """Writes one position a row."""
        if places.together:
            self.kv[layer, 0, :, :, places.reach - 1] = k_BHD
            self.kv[layer, 1, :, :, places.reach - 1] = v_BHD
            return
        batch = torch.arange(len(k_BHD), device=k_BHD.device)
        self.kv[layer, 0, batch, :, places.position_B] = k_BHD.to(self.kv.dtype)
        self.kv[layer, 1, batch, :, places.position_B] = v_BHD.to(self.kv.dtype)

    def copy_rows(self, other: Cache, which: Sequence[int]) -> None:
        """Makes row b what row which[b] of another cache, no longer than this one, is."""
        index = torch.tensor(which, device=self.kv.device)
        self.kv[:, :, :, :, : other.length] = other.kv.index_select(2, index)
