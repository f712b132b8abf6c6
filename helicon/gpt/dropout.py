"""Dropout whose random numbers cost little: on a CPU, PyTorch draws each as a float, and by one thread."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """nn.Dropout; on a CPU four numbers are cut from each that is drawn, so `p` is met to within 2^-16."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p in (0, 1) or input.device.type != "cpu":
            return super().forward(input)
        drawn = torch.empty(-(-input.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        # Of 15 bits each: -1 for those below p, else 0. Whole numbers are many times faster here than booleans
        fifteen = drawn.view(torch.int16)[: input.numel()].bitwise_right_shift_(1)
        dropped = fifteen.sub_(round(self.p * 2**15) - 2**14).bitwise_right_shift_(15)
        return input * (dropped + 1).to(input.dtype).view(input.shape) * (1 / (1 - self.p))
