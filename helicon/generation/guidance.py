"""Classifier-free guidance: logits moved further from those of the model without its conditions (arXiv:2207.12598).

Shapes: M rows of the model, B items, V tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Guidance(NamedTuple):
    """Which rows are with and without the conditions of each item: `known_B` of all, `free_G` of the guided `items_G`.

    scale_G1: how far to go from the model without its conditions (0) to the model with them (1) or beyond (eq. 6,
    where w is one less).
    """

    known_B: Tensor
    items_G: Tensor
    free_G: Tensor
    scale_G1: Tensor

    @classmethod
    def of(
        cls, known: Sequence[int], free: Mapping[int, int], scales: Sequence[float], device: torch.device
    ) -> Guidance:
        """known: row of each item. free: item -> its other row, with one of `scales` each, of those with guidance."""
        rows, items, others = (torch.tensor(list(each), device=device) for each in (known, free.keys(), free.values()))
        return cls(rows, items, others, torch.tensor(scales, dtype=torch.float32, device=device)[:, None])

    def __call__(self, logits_MV: Tensor) -> Tensor:
        """Logits [B, V] to draw from."""
        known_BV, free_GV = logits_MV[self.known_B].float(), logits_MV[self.free_G].float()
        # No lerp, which rounds by where in memory a number lies
        moved_GV = free_GV + self.scale_G1 * (known_BV[self.items_G] - free_GV)
        return known_BV.index_copy(0, self.items_G, moved_GV)
