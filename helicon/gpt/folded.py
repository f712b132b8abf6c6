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

from helicon.gpt.folds import Fold, Tile

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def flash_folds(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, folds: Sequence[Fold]) -> Tensor:
    """Merged attention by the CPU's fused kernel: no scores are kept, forward or backward."""
    return _FlashFolds.apply(q_BHTD, k_BHTD, v_BHTD, folds)  # type: ignore[return-value]  (apply is untyped)


def attend_folds(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, folds: Sequence[Fold]) -> Tensor:
    """Merged attention by matrix products and autograd: any device."""
    if not folds:
        return (q_BHTD + k_BHTD + v_BHTD) * 0  # no pair at all; still a function of all three, for autograd
    outs, lses = [], []
    for fold in folds:
        q_NHRD, k_NHKD, v_NHKD = _flat(fold.queries, q_BHTD), _flat(fold.keys, k_BHTD), _flat(fold.keys, v_BHTD)
        scores_NHRK = (q_NHRD @ k_NHKD.mT * q_BHTD.shape[-1] ** -0.5).to(_wide(q_BHTD.dtype))
        mask_RK = torch.ones(scores_NHRK.shape[-2:], dtype=torch.bool).tril() if fold.causal else fold.mask_RK
        if mask_RK is not None:
            scores_NHRK = scores_NHRK.masked_fill(~mask_RK.to(q_BHTD.device), -torch.inf)
        lse_NHR1 = scores_NHRK.logsumexp(-1, keepdim=True)
        out_NHRD = (scores_NHRK - lse_NHR1).exp().to(v_NHKD.dtype) @ v_NHKD
        outs.append(_spread(fold.queries, out_NHRD, torch.zeros_like(q_BHTD)))
        # A fold gives no weight to rows it has not; finite, so that rows no fold has stay free of NaN.
        nothing_BHT1 = lse_NHR1.new_full((*q_BHTD.shape[:3], 1), torch.finfo(lse_NHR1.dtype).min / 2)
        lses.append(_spread(fold.queries, lse_NHR1, nothing_BHT1))
    weights = torch.stack(lses).softmax(0).to(v_BHTD.dtype)
    return (weights * torch.stack(outs)).sum(0)


class _FlashFolds(torch.autograd.Function):
    """The folds' merged output; q, k, v, the output and one log-sum-exp a row are all that is saved."""

    @staticmethod
    def forward(ctx: Any, q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, folds: Sequence[Fold]) -> Tensor:
        out_BHTD = torch.zeros_like(q_BHTD)
        lse_BHT1 = q_BHTD.new_full((*q_BHTD.shape[:3], 1), -torch.inf, dtype=_wide(q_BHTD.dtype))
        for fold in folds:
            q_NHRD, k_NHKD, v_NHKD = _flat(fold.queries, q_BHTD), _flat(fold.keys, k_BHTD), _flat(fold.keys, v_BHTD)
            bias_RK = _bias(fold, q_BHTD.dtype)
            out_NHRD, lse_NHR = _flash(q_NHRD, k_NHKD, v_NHKD, 0.0, fold.causal, attn_mask=bias_RK)
            out, lse = fold.queries.view(out_BHTD), fold.queries.view(lse_BHT1)
            fold_lse = lse_NHR.reshape(lse.shape)
            # exp(fold_lse - logaddexp(lse, fold_lse)); exactly 1 where no earlier fold had the row
            weight = torch.sigmoid(fold_lse - lse).to(out.dtype)
            out.lerp_(out_NHRD.reshape(out.shape), weight)
            lse.copy_(torch.logaddexp(lse, fold_lse))
        ctx.save_for_backward(q_BHTD, k_BHTD, v_BHTD, out_BHTD, lse_BHT1)
        ctx.folds = folds
        return out_BHTD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BHTD: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # type: ignore[override]
        q_BHTD, k_BHTD, v_BHTD, out_BHTD, lse_BHT1 = ctx.saved_tensors
        grads = torch.zeros_like(q_BHTD), torch.zeros_like(k_BHTD), torch.zeros_like(v_BHTD)
        for fold in ctx.folds:
            queries, keys = fold.queries, fold.keys
            q_NHRD, k_NHKD, v_NHKD = _flat(queries, q_BHTD), _flat(keys, k_BHTD), _flat(keys, v_BHTD)
            merged = _flat(queries, out_BHTD), _flat(queries, lse_BHT1).squeeze(-1)
            bias_RK = _bias(fold, q_BHTD.dtype)
            folded = _flash_backward(
                _flat(queries, grad_BHTD), q_NHRD, k_NHKD, v_NHKD, *merged, 0.0, fold.causal, attn_mask=bias_RK
            )
            for grad, tile, part in zip(grads, (queries, keys, keys), folded, strict=True):
                view = tile.view(grad)
                view += part.reshape(view.shape)
        return *grads, None


def _flat(tile: Tile, x_BHTD: Tensor) -> Tensor:
    """The tile's rows as a kernel takes them, [N, H, R, D]: a view wherever strides allow."""
    return tile.view(x_BHTD).flatten(0, 1).flatten(2, -2)


def _spread(tile: Tile, rows_NHRD: Tensor, onto_BHTD: Tensor) -> Tensor:
    """Write rows to their places in a sequence: the inverse of `_flat`."""
    view = tile.view(onto_BHTD)
    view.copy_(rows_NHRD.reshape(view.shape))
    return onto_BHTD


def _bias(fold: Fold, dtype: torch.dtype) -> Tensor | None:
    """A fold's mask as the CPU kernel takes it: added to the scores."""
    if fold.mask_RK is None:
        return None
    return torch.zeros(fold.mask_RK.shape, dtype=dtype).masked_fill_(~fold.mask_RK, -torch.inf)


def _wide(dtype: torch.dtype) -> torch.dtype:
    """The type of softmax statistics."""
    return torch.promote_types(dtype, torch.float32)
