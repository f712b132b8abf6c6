"""Dropout with cheap random numbers: on a CPU, PyTorch draws one float for each element, in a single thread."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """nn.Dropout; on a CPU each 64-bit random number serves four elements, so `p` is met to within 2^-16."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or self.p in (0, 1) or input.device.type != "cpu":
            return super().forward(input)
        random_64 = torch.empty(-(-input.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        # 15 random bits each: -1 for those below p, else 0. Integers are many times faster here than booleans
        random_15 = random_64.view(torch.int16)[: input.numel()].bitwise_right_shift_(1)
        dropped = random_15.sub_(round(self.p * 2**15) - 2**14).bitwise_right_shift_(15)
        return input * (dropped + 1).to(input.dtype).view(input.shape) * (1 / (1 - self.p))
