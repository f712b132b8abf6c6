"""Keys and values of the tokens seen so far, preallocated, one pair a layer.

Shapes: B batch, H heads, T tokens at most, D head width.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Cache:
    """Rows stand at their own positions; what lies beyond a row's position is never read."""

    def __init__(
        self, layers: int, batch: int, heads: int, length: int, head_width: int,
        device: torch.device | str, dtype: torch.dtype,
    ) -> None:  # fmt: skip
        shape = (layers, 2, batch, heads, length, head_width)
        self.kv = torch.zeros(shape, device=device, dtype=dtype)

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

    def store_at(self, layer: int, k_BHD: Tensor, v_BHD: Tensor, position_B: Tensor) -> None:
        """Writes one position a row."""
        batch = torch.arange(len(position_B), device=position_B.device)
        self.kv[layer, 0, batch, :, position_B] = k_BHD
        self.kv[layer, 1, batch, :, position_B] = v_BHD
