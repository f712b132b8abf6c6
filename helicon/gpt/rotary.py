"""Rotary position embedding (arXiv:2104.09864): queries and keys are turned by angles that grow with their position.

Shapes: B batch, H heads, T tokens, D head width, P pairs of features that turn together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class Angles(NamedTuple):
    """Of all pairs at each position, the same for every layer; in float64 but for MPS, which does not have it."""

    cos_B1TP: Tensor
    sin_B1TP: Tensor

    @classmethod
    def of(cls, position_BT: Tensor, width: int) -> Angles:
        """For heads of a width."""
        half = width // 2
        dtype = torch.float32 if position_BT.device.type == "mps" else torch.float64
        rates = 10000.0 ** (-torch.arange(half, device=position_BT.device, dtype=dtype) / half)
        angle = position_BT[:, None, :, None].to(dtype) * rates
        return cls(angle.cos(), angle.sin())


def rotate(x_BHTD: Tensor, angles: Angles) -> Tensor:
    """Eq. 34, half-split form."""
    cos, sin = (part.to(x_BHTD.dtype) for part in angles)
    if not x_BHTD.requires_grad:
        return _turned(x_BHTD, cos, sin)
    return _Rotation.apply(x_BHTD, cos, sin)  # type: ignore[return-value]  (apply is untyped)


class _Rotation(torch.autograd.Function):
    """The gradient is turned back: autograd would add up eight gradients of halves."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        cos, sin = ctx.saved_tensors
        return _turned(grad, cos, -sin), None, None


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The first half of the features with the second; an odd last one stays."""
    half, out = cos.shape[-1], torch.empty_like(x)
    first, second = slice(half), slice(half, 2 * half)
    torch.mul(x[..., first], cos, out=out[..., first]).addcmul_(x[..., second], sin, value=-1)
    torch.mul(x[..., first], sin, out=out[..., second]).addcmul_(x[..., second], cos)
    if x.shape[-1] % 2:
        out[..., -1] = x[..., -1]
    return out
