"""Chunked cross-entropy over slices of the vocabulary: the logits of all positions are never in memory at once.

For each chunk of positions, forward computes the logits, the loss, and at once the gradients with respect to the hidden
states and the output matrix (as Liger does, arXiv:2410.10989); backward only scales them. So nothing is computed twice,
and all slices share one gradient of the matrix.

Shapes: N positions of a slice, C width, V rows of the output matrix, S slices, P positions of a chunk.
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

# Positions of a chunk are a multiple of GRAIN: with fewer, adding up gradients costs more, and bfloat16 products are
# slower for odd numbers of rows
GRAIN = 256
LOGITS = {"cpu": 1 << 22, "cuda": 1 << 28}  # logits of a chunk; on a CPU (16 MB of float32) they stay in its cache


class Scored(NamedTuple):
    """Positions to score against one slice of the vocabulary.

    Attributes:
        hidden_NC: hidden states of N positions, of width C.
        vocab_slice: rows of the output matrix that are possible.
        targets_N: int64 vocabulary ids to predict, counted from the start of the slice.
    """

    hidden_NC: Tensor
    vocab_slice: slice
    targets_N: Tensor


def summed_cross_entropy(weight_VC: Tensor, scored: Sequence[Scored]) -> Tensor:
    """Sum -log p of the targets of each slice. Backward can be run once.

    Args:
        weight_VC: the output matrix: a row of width C for each of V vocabulary ids.
        scored: one `Scored` for each of S disjoint slices: hidden states and targets of its positions.

    Returns:
        Sums [S] in nats, in the order of `scored`, in float32 at least.

    Raises:
        ValueError: two slices overlap.
    """
    order = sorted((item.vocab_slice for item in scored), key=lambda vocab_slice: vocab_slice.start)
    if any(low.stop > high.start for low, high in pairwise(order)):
        raise ValueError("the rows of two slices overlap: give their positions as one slice")
    hidden = [item.hidden_NC for item in scored]
    needs_grad = torch.is_grad_enabled() and any(x.requires_grad for x in (weight_VC, *hidden))
    return _SummedCrossEntropy.apply(weight_VC, scored, needs_grad, *hidden)  # type: ignore[return-value]  (untyped)


class _SummedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight_VC: Tensor, scored: Sequence[Scored], needs_grad: bool, *hidden: Tensor) -> Tensor:
        ctx.grad_weight_VC = torch.zeros_like(weight_VC, dtype=_wide(weight_VC)) if needs_grad else None
        ctx.slices, ctx.grads, totals = [item.vocab_slice for item in scored], [], []
        for (_, vocab_slice, targets_N), hidden_NC in zip(scored, hidden):
            grad_slice = None if ctx.grad_weight_VC is None else ctx.grad_weight_VC[vocab_slice]
            total, grad_NC = _score(hidden_NC, weight_VC[vocab_slice], targets_N, grad_slice)
            totals.append(total)
            ctx.grads.append(grad_NC)
        return torch.stack(totals)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_S: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        if ctx.grad_weight_VC is None:
            raise RuntimeError("the gradients of this cross-entropy were scaled and given away already")
        grad_weight_VC, ctx.grad_weight_VC = ctx.grad_weight_VC, None
        for vocab_slice, grad_NC, grad in zip(ctx.slices, ctx.grads, grad_S, strict=True):
            grad_weight_VC[vocab_slice] *= grad
            grad_NC *= grad
        return grad_weight_VC, None, None, *ctx.grads


def _score(
    hidden_NC: Tensor, weight_VC: Tensor, targets_N: Tensor, grad_weight_VC: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """Return the sum of -log p and the gradient of the hidden states; add the matrix's to `grad_weight_VC`."""
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
        # Gradient of the logits: the probabilities, less 1 at the target
        grad_PV = log_p_PV.exp_().scatter_add_(1, targets_P1, log_p_PV.new_full(targets_P1.shape, -1.0)).to(dtype)
        grad_NC[start : start + size] = grad_PV @ w_VC
        grad_weight_VC += grad_PV.T @ x_PC
    return total, grad_NC


def _wide(x: Tensor) -> torch.dtype:
    """Return the dtype of sums and probabilities: float32, or wider."""
    return torch.promote_types(x.dtype, torch.float32)
