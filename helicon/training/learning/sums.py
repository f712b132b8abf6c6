"""Running sums of a validation, over its batches and all processes, by torchmetrics."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class Sums(Metric):
    """Sums of some figures, float64 [count]: added up batch by batch, and over all processes as they are asked for.

    On MPS, which has no float64, in float32. Nothing is waited for: the sums stay where the figures are.
    """

    total: Tensor

    def __init__(self, count: int, device: torch.device) -> None:
        super().__init__()
        kind = torch.float32 if device.type == "mps" else torch.float64
        self.add_state("total", torch.zeros(count, dtype=kind), dist_reduce_fx="sum")
        self.to(device)

    def update(self, *figures: Tensor | float) -> None:
        """Adds a batch's figures, one number each."""
        self.total += torch.stack([torch.as_tensor(each, device=self.device).to(self.total) for each in figures])

    def compute(self) -> Tensor:
        """The sums so far."""
        return self.total
