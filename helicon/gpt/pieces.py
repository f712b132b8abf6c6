"""Rows of different lengths, filled up on the right: all but attention is computed for the real tokens alone.

Shapes: B rows, T tokens of the longest of them, N real tokens of all rows together.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class PaddedPieces(NamedTuple):
    """index_N: where the real tokens are among the B x T."""

    index_N: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, lengths_B: Tensor, length: int) -> PaddedPieces | None:
        """Of rows of `length` places, the first `lengths_B` of which are real; None when all are."""
        real_BT = torch.arange(length, device=lengths_B.device) < lengths_B[:, None]
        index_N = real_BT.flatten().nonzero().squeeze(1)
        return None if len(index_N) == real_BT.numel() else cls(index_N, (len(lengths_B), length))

    def unpad(self, x_BT: Tensor) -> Tensor:
        """[B, T, ...] -> [N, ...]."""
        return x_BT.flatten(0, 1).index_select(0, self.index_N)

    def pad(self, x_NC: Tensor) -> Tensor:
        """[N, C] -> [B, T, C], 0 where nothing is real."""
        places = self.shape[0] * self.shape[1]
        return x_NC.new_zeros(places, x_NC.shape[1]).index_copy(0, self.index_N, x_NC).view(*self.shape, -1)
