"""Padding-free batches: all but attention is computed for the real tokens of a right-padded batch alone.

FlashAttention calls the two directions unpad and pad (`bert_padding.py`).

Shapes: B batch, T tokens of the padded batch, N real tokens of all sequences together, C width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Padding(NamedTuple):
    """Position of the padding in a right-padded batch.

    Attributes:
        index_N: int64 indices of the N real tokens among the B x T of the batch, ascending.
        shape: (B, T).
    """

    index_N: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, lengths_B: Tensor, length: int) -> Padding | None:
        """Find the padding of a batch.

        Args:
            lengths_B: int64, number of real tokens of each sequence.
            length: number of tokens T of each row of the padded batch.

        Returns:
            The `Padding`; None when there is none, so that a full batch takes the plain path.
        """
        real_BT = torch.arange(length, device=lengths_B.device) < lengths_B[:, None]
        index_N = real_BT.flatten().nonzero().squeeze(1)
        return None if len(index_N) == real_BT.numel() else cls(index_N, (len(lengths_B), length))

    def unpad(self, x_BT: Tensor) -> Tensor:
        """Gather the N real tokens of all rows from a padded tensor of any dtype: [B, T, ...] -> [N, ...]."""
        return x_BT.flatten(0, 1).index_select(0, self.index_N)

    def pad(self, x_NC: Tensor) -> Tensor:
        """Scatter features [N, C] of the N real tokens into a padded batch [B, T, C], 0 at the padding."""
        tokens = self.shape[0] * self.shape[1]
        return x_NC.new_zeros(tokens, x_NC.shape[1]).index_copy(0, self.index_N, x_NC).view(*self.shape, -1)
