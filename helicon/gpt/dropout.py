"""Dropout whose random numbers cost little: on a CPU, PyTorch draws each as a float, and alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """nn.Dropout; on a CPU four numbers are cut from each that is drawn, so `p` is met to within 2^-17."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p in (0, 1) or input.device.type != "cpu":
            return super().forward(input)
        drawn = torch.empty(-(-input.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        keep = drawn.view(torch.int16)[: input.numel()].view(input.shape) >= round(self.p * 2**16) - 2**15
        return torch.where(keep, input, 0) * (1 / (1 - self.p))
