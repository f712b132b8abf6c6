"""Cross-entropy over slices of the vocabulary, whose logits never exist whole, forward or backward.

A few positions at a time: their logits, their loss, and at once its gradients of the hidden states and of the output
matrix (as Liger does, arXiv:2410.10989), which backward only scales. So nothing is computed twice, and all slices share
one gradient of the matrix.

Shapes: N positions of a slice, C width, V rows of the whole matrix, S slices; P positions of a part.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import ceil
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from helicon.gpt.linear import linear

GRAIN = 256  # positions of a part are a multiple: fewer cost more to add up, and odd numbers to multiply in bfloat16
LOGITS = {"cpu": 1 << 22, "cuda": 1 << 28}  # of a part: on a CPU they stay in its cache


class Scored(NamedTuple):
    """Hidden states [N, C], the rows of the output matrix that are possible, and the targets [N] among those rows."""

    hidden_NC: Tensor
    rows: slice
    targets_N: Tensor


def summed_cross_entropy(weight_VC: Tensor, scored: Sequence[Scored]) -> Tensor:
    """Sum of -log p of the targets of each slice [S], in float32 at least; backward can be run once.

    ValueError for slices that share rows.
    """
    order = sorted((each.rows for each in scored), key=lambda rows: rows.start)
    if any(low.stop > high.start for low, high in pairwise(order)):
        raise ValueError("the rows of two slices overlap: give their positions as one slice")
    hidden = [each.hidden_NC for each in scored]
    learns = torch.is_grad_enabled() and any(x.requires_grad for x in (weight_VC, *hidden))
    return _SummedCrossEntropy.apply(weight_VC, scored, learns, *hidden)  # type: ignore[return-value]  (untyped)


class _SummedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight_VC: Tensor, scored: Sequence[Scored], learns: bool, *hidden: Tensor) -> Tensor:
        ctx.grad_weight_VC = torch.zeros_like(weight_VC, dtype=_wide(weight_VC)) if learns else None
        ctx.rows, ctx.grads, totals = [each.rows for each in scored], [], []
        for (_, rows, targets_N), hidden_NC in zip(scored, hidden):
            grad_slice = None if ctx.grad_weight_VC is None else ctx.grad_weight_VC[rows]
            total, grad_NC = _score(hidden_NC, weight_VC[rows], targets_N, grad_slice)
            totals.append(total)
            ctx.grads.append(grad_NC)
        return torch.stack(totals)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_S: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        if ctx.grad_weight_VC is None:
            raise RuntimeError("the gradients of this cross-entropy were scaled and given away already")
        grad_weight_VC, ctx.grad_weight_VC = ctx.grad_weight_VC, None
        for rows, grad_NC, grad in zip(ctx.rows, ctx.grads, grad_S, strict=True):
            grad_weight_VC[rows] *= grad
            grad_NC *= grad
        return grad_weight_VC, None, None, *ctx.grads


def _score(
    hidden_NC: Tensor, weight_VC: Tensor, targets_N: Tensor, grad_weight_VC: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Sum of -log p and its gradient of the hidden states; that of the matrix is added to what is there."""
    device, wide = hidden_NC.device.type, _wide(hidden_NC)
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_NC.dtype
    x_NC, w_VC, total = hidden_NC.to(dtype), weight_VC.to(dtype), hidden_NC.new_zeros((), dtype=wide)
    grad_NC = None if grad_weight_VC is None else torch.empty_like(hidden_NC)
    size = GRAIN * ceil(LOGITS.get(device, LOGITS["cuda"]) / len(w_VC) / GRAIN)
    for start in range(0, len(x_NC), size):
        x_PC, targets_P1 = x_NC[start : start + size], targets_N[start : start + size, None]
        log_p_PV = linear(x_PC, w_VC).log_softmax(1, dtype=wide)
        total -= log_p_PV.gather(1, targets_P1).sum()
        if grad_NC is None or grad_weight_VC is None:
            continue
        # Of the logits: the probabilities, less 1 at the target
        grad_PV = log_p_PV.exp_().scatter_add_(1, targets_P1, log_p_PV.new_full(targets_P1.shape, -1.0)).to(dtype)
        grad_NC[start : start + size] = grad_PV @ w_VC
        grad_weight_VC += grad_PV.T @ x_PC
    return total, grad_NC


def _wide(x: Tensor) -> torch.dtype:
    """The type of sums and probabilities."""
    return torch.promote_types(x.dtype, torch.float32)
