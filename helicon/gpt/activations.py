"""Activation functions of the feed-forward layers."""

from __future__ import annotations

from collections.abc import Callable
from math import pi
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_sigmoid_backward = torch.ops.aten.sigmoid_backward
# (1 + tanh u) / 2 = sigmoid(2 u), so GELU's u = sqrt(2/pi) (x + .044715 x^3) has these coefficients, doubled
LINEAR = 2 * (2 / pi) ** 0.5  # of x
CUBIC = 0.044715 * LINEAR  # of x^3; arXiv:1606.08415, section 2


def gelu(x: Tensor) -> Tensor:
    """Compute GELU of each number of a float tensor, of any shape, in GPT-2's form (arXiv:1606.08415, section 2).

    It is x/2 (1 + tanh(sqrt(2/pi) (x + .044715 x^3))).
    """
    if x.device.type == "cpu" and x.dtype == torch.bfloat16 and x.requires_grad:
        return _SigmoidGELU.apply(x)  # type: ignore[return-value]  (apply is untyped)
    return F.gelu(x, approximate="tanh")


class _SigmoidGELU(torch.autograd.Function):
    """GELU as x s, s = sigmoid(a x + b x^3): PyTorch's tanh of bfloat16 takes three times as long on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        s = _slope(x, CUBIC).mul_(x).sigmoid_()
        ctx.save_for_backward(x, s)
        return x * s

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        """Compute grad (s + x s (1 - s) (a + 3 b x^2))."""
        x, s = ctx.saved_tensors
        return _sigmoid_backward(_slope(x, 3 * CUBIC).mul_(x).mul_(grad), s).addcmul_(grad, s)


def _slope(x: Tensor, cubic: float) -> Tensor:
    """Compute LINEAR + cubic x^2, in one pass over memory."""
    return torch.addcmul(torch.tensor(LINEAR, dtype=x.dtype), x, x, value=cubic)


# By value of GPTConfig.mlp: [..., features] -> the same shape, but half the features for swiglu
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": gelu,
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),  # OpenAI's approximation, as ImageGPT and CLIP use it
    "relu2": lambda x: F.relu(x).square(),  # Primer, arXiv:2109.08668
    "swiglu": lambda x: F.silu(x.chunk(2, dim=-1)[0]) * x.chunk(2, dim=-1)[1],  # arXiv:2002.05202
}
