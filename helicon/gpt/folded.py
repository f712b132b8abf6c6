"""Attention over folds in one softmax: each fold on its own, merged by the log-sum-exp of its scores.

With o_f, l_f a fold's output and log-sum-exp, the whole is l = log sum_f exp(l_f), o = sum_f exp(l_f - l) o_f. A fused
kernel's backward recomputes its weights as exp(score - l) and needs o only for the row sums of o * grad(o): handed the
*merged* o and the *global* l instead of its own, it returns exactly the fold's share of the gradients.

Shapes: B batch, H heads, T tokens, D features; N = batch x groups of a fold, R its query rows, K its keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from helicon.gpt.folds import Fold, Tile, fold_mask
from helicon.gpt.kernels import kernel_for


def flash_folds(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, folds: Sequence[Fold]) -> Tensor:
    """Merged attention by the device's fastest kernels, most of which keep no scores, forward or backward."""
    return _FlashFolds.apply(q_BHTD, k_BHTD, v_BHTD, folds)  # type: ignore[return-value]  (apply is untyped)


def attend_folds(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, folds: Sequence[Fold]) -> Tensor:
    """Merged attention by matrix products and autograd: any device."""
    if not folds:
        return (q_BHTD + k_BHTD + v_BHTD) * 0  # no pair at all; still a function of all three, for autograd
    outs, lses = [], []
    for fold in folds:
        q_NHRD, k_NHKD, v_NHKD = flat(fold.queries, q_BHTD), flat(fold.keys, k_BHTD), flat(fold.keys, v_BHTD)
        scores_NHRK = (q_NHRD @ k_NHKD.mT * q_BHTD.shape[-1] ** -0.5).to(_wide(q_BHTD.dtype))
        mask_RK = fold_mask(fold, q_BHTD.device)
        if mask_RK is not None:
            scores_NHRK = scores_NHRK.where(mask_RK, -torch.inf)
        lse_NHR1 = scores_NHRK.logsumexp(-1, keepdim=True)
        out_NHRD = (scores_NHRK - lse_NHR1).exp().to(v_NHKD.dtype) @ v_NHKD
        outs.append(spread(fold.queries, out_NHRD, torch.zeros_like(q_BHTD)))
        # A fold gives no weight to rows it has not; finite, so that rows no fold has stay free of NaN.
        nothing_BHT1 = lse_NHR1.new_full((*q_BHTD.shape[:3], 1), torch.finfo(lse_NHR1.dtype).min / 2)
        lses.append(spread(fold.queries, lse_NHR1, nothing_BHT1))
    weights = torch.stack(lses).softmax(0).to(v_BHTD.dtype)
    return (weights * torch.stack(outs)).sum(0)


class _FlashFolds(torch.autograd.Function):
    """The folds' merged output; q, k, v, it, one log-sum-exp a row and what kernels keep are all that is saved."""

    @staticmethod
    def forward(ctx: Any, q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, folds: Sequence[Fold]) -> Tensor:
        out_BHTD = torch.zeros_like(q_BHTD)
        lse_BHT1 = q_BHTD.new_full((*q_BHTD.shape[:3], 1), -torch.inf, dtype=_wide(q_BHTD.dtype))
        kept = []
        for fold in folds:
            q_NHRD, k_NHKD, v_NHKD = flat(fold.queries, q_BHTD), flat(fold.keys, k_BHTD), flat(fold.keys, v_BHTD)
            kernel = kernel_for(q_NHRD, fold)
            out_NHRD, lse_NHR, rest = kernel.forward(q_NHRD, k_NHKD, v_NHKD, fold)
            kept.append((kernel, rest))
            out, lse = fold.queries.view(out_BHTD), fold.queries.view(lse_BHT1)
            fold_lse = lse_NHR.reshape(lse.shape)
            # exp(fold_lse - logaddexp(lse, fold_lse)); exactly 1 where no earlier fold had the row
            weight = torch.sigmoid(fold_lse - lse).to(out.dtype)
            out.lerp_(out_NHRD.reshape(out.shape), weight)
            lse.copy_(torch.logaddexp(lse, fold_lse))
        ctx.save_for_backward(q_BHTD, k_BHTD, v_BHTD, out_BHTD, lse_BHT1)
        ctx.folds, ctx.kept = folds, kept
        return out_BHTD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BHTD: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # type: ignore[override]
        q_BHTD, k_BHTD, v_BHTD, out_BHTD, lse_BHT1 = ctx.saved_tensors
        grads = torch.zeros_like(q_BHTD), torch.zeros_like(k_BHTD), torch.zeros_like(v_BHTD)
        for fold, (kernel, rest) in zip(ctx.folds, ctx.kept, strict=True):
            queries, keys = fold.queries, fold.keys
            q_NHRD, k_NHKD, v_NHKD = flat(queries, q_BHTD), flat(keys, k_BHTD), flat(keys, v_BHTD)
            merged = flat(queries, out_BHTD), flat(queries, lse_BHT1).squeeze(-1)
            folded = kernel.backward(flat(queries, grad_BHTD), q_NHRD, k_NHKD, v_NHKD, *merged, fold, rest)
            for grad, tile, part in zip(grads, (queries, keys, keys), folded, strict=True):
                view = tile.view(grad)
                view += part.reshape(view.shape)
        return *grads, None


def flat(tile: Tile, x_BHTD: Tensor) -> Tensor:
    """The tile's rows as a kernel takes them, [N, H, R, D]: a view wherever strides allow."""
    return tile.view(x_BHTD).flatten(0, 1).flatten(2, -2)


def spread(tile: Tile, rows_NHRD: Tensor, onto_BHTD: Tensor) -> Tensor:
    """Write rows to their places in a sequence: the inverse of `flat`."""
    view = tile.view(onto_BHTD)
    view.copy_(rows_NHRD.reshape(view.shape))
    return onto_BHTD


def _wide(dtype: torch.dtype) -> torch.dtype:
    """The type of softmax statistics."""
    return torch.promote_types(dtype, torch.float32)
