"""Sums over the batches of a validation and all ranks, by torchmetrics."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class Sums(Metric):
    """Metric of running sums [count], reduced over all ranks by `compute`; float64, but float32 on MPS, which has none.

    The sums stay on the device, so that adding to them does not synchronise with it.

    Args:
        count: number of sums.
        device: of the sums.
    """

    total: Tensor

    def __init__(self, count: int, device: torch.device) -> None:
        super().__init__()
        kind = torch.float32 if device.type == "mps" else torch.float64
        self.add_state("total", torch.zeros(count, dtype=kind), dist_reduce_fx="sum")
        self.to(device)

    def update(self, *figures: Tensor | float) -> None:
        """Add the figures of a batch, as many scalars as `count` says."""
        self.total += torch.stack([torch.as_tensor(figure, device=self.device).to(self.total) for figure in figures])

    def compute(self) -> Tensor:
        """Return the sums over all ranks, [count] of the device's float64 or float32."""
        return self.total
