"""Classifier-free guidance (arXiv:2207.12598): logits extrapolated from unconditional to conditional ones.

Shapes: M cache rows, B items, G items with guidance, V tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Guidance(NamedTuple):
    """Classifier-free guidance of a batch, of which only some items may have it.

    Attributes:
        cond_B: cache row of each of the B items with its conditions.
        items_G: indices of the G items with guidance.
        uncond_G: cache row of each of these without conditions.
        scale_G1: float32 [G, 1]; 0 is the unconditional model, 1 the conditional one (eq. 6, where w = scale - 1).
    """

    cond_B: Tensor
    items_G: Tensor
    uncond_G: Tensor
    scale_G1: Tensor

    @classmethod
    def of(
        cls, cond_rows: Sequence[int], uncond_rows: Mapping[int, int], scales: Sequence[float], device: torch.device
    ) -> Guidance:
        """Make the guidance of a batch.

        Args:
            cond_rows: number of the cache row of each item with its conditions.
            uncond_rows: index of an item with guidance -> number of its cache row without conditions.
            scales: guidance scale of each of these, in the same order.
            device: device of the logits.

        Returns:
            A `Guidance`, called with the logits of a step.
        """
        cond_B, items_G, uncond_G = (
            torch.tensor(list(rows), device=device) for rows in (cond_rows, uncond_rows.keys(), uncond_rows.values())
        )
        return cls(cond_B, items_G, uncond_G, torch.tensor(scales, dtype=torch.float32, device=device)[:, None])

    def __call__(self, logits_MV: Tensor) -> Tensor:
        """Combine logits [M, V] of all rows to guided logits float32 [B, V]."""
        cond_BV, uncond_GV = logits_MV[self.cond_B].float(), logits_MV[self.uncond_G].float()
        # Not torch.lerp: its rounding depends on a number's place in memory, so an item would depend on its batch
        guided_GV = uncond_GV + self.scale_G1 * (cond_BV[self.items_G] - uncond_GV)
        return cond_BV.index_copy(0, self.items_G, guided_GV)
