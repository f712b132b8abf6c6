"""Rotary position embedding (arXiv:2104.09864): queries and keys are rotated by angles proportional to their position.

Shapes: B batch, H heads, T tokens, D head width, P = D // 2 pairs of features that rotate together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BASE = 10000.0  # of the geometric sequence of frequencies: theta of the paper, section 3.2.2


class Angles(NamedTuple):
    """Cosines and sines of the angles of all pairs at each position, shared by all layers and heads.

    In float64; float32 on MPS, which has no float64.
    """

    cos_B1TP: Tensor
    sin_B1TP: Tensor

    @classmethod
    def of(cls, position_BT: Tensor, width: int) -> Angles:
        """Compute the angles.

        Args:
            position_BT: integer positions in the sequence, from 0; B is 1 where all rows share them.
            width: head width D of queries and keys.

        Returns:
            `Angles` of the P = D // 2 pairs of features: cosines and sines [B, 1, T, P].
        """
        pairs = width // 2
        dtype = torch.float32 if position_BT.device.type == "mps" else torch.float64
        frequencies = BASE ** (-torch.arange(pairs, device=position_BT.device, dtype=dtype) / pairs)
        angle = position_BT[:, None, :, None].to(dtype) * frequencies
        return cls(angle.cos(), angle.sin())


def rotate(x_BHTD: Tensor, angles: Angles) -> Tensor:
    """Rotate queries or keys (eq. 34), feature i with feature i + P as in GPT-NeoX, not with its neighbour.

    Args:
        x_BHTD: queries or keys of H heads of width D.
        angles: `Angles` of their positions.

    Returns:
        [B, H, T, D], in the dtype of x; the last feature of an odd D is left as it is.
    """
    cos, sin = (part.to(x_BHTD.dtype) for part in angles)
    if not x_BHTD.requires_grad:
        return _turned(x_BHTD, cos, sin)
    return _Rotation.apply(x_BHTD, cos, sin)  # type: ignore[return-value]  (apply is untyped)


class _Rotation(torch.autograd.Function):
    """Rotation whose gradient is rotated back; autograd would instead sum eight gradients of halves."""

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
    """Rotate the first half of the features against the second; an odd last feature stays."""
    pairs, out = cos.shape[-1], torch.empty_like(x)
    first, second = slice(pairs), slice(pairs, 2 * pairs)
    torch.mul(x[..., first], cos, out=out[..., first]).addcmul_(x[..., second], sin, value=-1)
    torch.mul(x[..., first], sin, out=out[..., second]).addcmul_(x[..., second], cos)
    if x.shape[-1] % 2:
        out[..., -1] = x[..., -1]
    return out
