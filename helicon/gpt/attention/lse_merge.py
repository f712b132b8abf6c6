"""Attention over tiles in one softmax: each tile on its own, merged by the log-sum-exp of its scores.

With o_f, l_f a tile's output and log-sum-exp, the whole is l = log sum_f exp(l_f), o = sum_f exp(l_f - l) o_f. A fused
kernel's backward recomputes its weights as exp(score - l) and needs o only for the row sums of o * grad(o): handed the
*merged* o and the *global* l instead of its own, it returns exactly the tile's share of the gradients.

Shapes: B batch, H heads, T tokens, D features; N = batch x groups of a tile, R its query rows, K its keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from helicon.gpt.attention.kernels import kernel_for
from helicon.gpt.attention.tiles import AttentionTile, StridedView, tile_mask


def flash_tiles(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, tiles: Sequence[AttentionTile]) -> Tensor:
    """Merged attention by the device's fastest kernels, most of which keep no scores, forward or backward."""
    return _FlashTiles.apply(q_BHTD, k_BHTD, v_BHTD, tiles)  # type: ignore[return-value]  (apply is untyped)


def attend_tiles(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, tiles: Sequence[AttentionTile]) -> Tensor:
    """Merged attention by matrix products and autograd: any device."""
    if not tiles:
        return (q_BHTD + k_BHTD + v_BHTD) * 0  # no pair at all; still a function of all three, for autograd
    outs, lses = [], []
    for tile in tiles:
        q_NHRD, k_NHKD, v_NHKD = flat(tile.queries, q_BHTD), flat(tile.keys, k_BHTD), flat(tile.keys, v_BHTD)
        scores_NHRK = (q_NHRD @ k_NHKD.mT * q_BHTD.shape[-1] ** -0.5).to(_wide(q_BHTD.dtype))
        mask_RK = tile_mask(tile, q_BHTD.device)
        if mask_RK is not None:
            scores_NHRK = scores_NHRK.where(mask_RK, -torch.inf)
        lse_NHR1 = scores_NHRK.logsumexp(-1, keepdim=True)
        out_NHRD = (scores_NHRK - lse_NHR1).exp().to(v_NHKD.dtype) @ v_NHKD
        outs.append(spread(tile.queries, out_NHRD, torch.zeros_like(q_BHTD)))
        # A tile gives no weight to rows it has not; finite, so that rows no tile has stay free of NaN.
        nothing_BHT1 = lse_NHR1.new_full((*q_BHTD.shape[:3], 1), torch.finfo(lse_NHR1.dtype).min / 2)
        lses.append(spread(tile.queries, lse_NHR1, nothing_BHT1))
    weights = torch.stack(lses).softmax(0).to(v_BHTD.dtype)
    return (weights * torch.stack(outs)).sum(0)


class _FlashTiles(torch.autograd.Function):
    """The tiles' merged output; q, k, v, it, one log-sum-exp a row and what kernels keep are all that is saved."""

    @staticmethod
    def forward(ctx: Any, q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, tiles: Sequence[AttentionTile]) -> Tensor:
        out_BHTD = torch.zeros_like(q_BHTD)
        lse_BHT1 = q_BHTD.new_full((*q_BHTD.shape[:3], 1), -torch.inf, dtype=_wide(q_BHTD.dtype))
        kept = []
        for tile in tiles:
            q_NHRD, k_NHKD, v_NHKD = flat(tile.queries, q_BHTD), flat(tile.keys, k_BHTD), flat(tile.keys, v_BHTD)
            kernel = kernel_for(q_NHRD, tile)
            out_NHRD, lse_NHR, rest = kernel.forward(q_NHRD, k_NHKD, v_NHKD, tile)
            kept.append((kernel, rest))
            out, lse = tile.queries.view(out_BHTD), tile.queries.view(lse_BHT1)
            tile_lse = lse_NHR.reshape(lse.shape)
            # exp(tile_lse - logaddexp(lse, tile_lse)); exactly 1 where no earlier tile had the row
            weight = torch.sigmoid(tile_lse - lse).to(out.dtype)
            out.lerp_(out_NHRD.reshape(out.shape), weight)
            lse.copy_(torch.logaddexp(lse, tile_lse))
        ctx.save_for_backward(q_BHTD, k_BHTD, v_BHTD, out_BHTD, lse_BHT1)
        ctx.tiles, ctx.kept = tiles, kept
        return out_BHTD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BHTD: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # type: ignore[override]
        q_BHTD, k_BHTD, v_BHTD, out_BHTD, lse_BHT1 = ctx.saved_tensors
        grads = torch.zeros_like(q_BHTD), torch.zeros_like(k_BHTD), torch.zeros_like(v_BHTD)
        for tile, (kernel, rest) in zip(ctx.tiles, ctx.kept, strict=True):
            queries, keys = tile.queries, tile.keys
            q_NHRD, k_NHKD, v_NHKD = flat(queries, q_BHTD), flat(keys, k_BHTD), flat(keys, v_BHTD)
            merged = flat(queries, out_BHTD), flat(queries, lse_BHT1).squeeze(-1)
            shares = kernel.backward(flat(queries, grad_BHTD), q_NHRD, k_NHKD, v_NHKD, *merged, tile, rest)
            for grad, rows, part in zip(grads, (queries, keys, keys), shares, strict=True):
                view = rows.view(grad)
                view += part.reshape(view.shape)
        return *grads, None


def flat(rows: StridedView, x_BHTD: Tensor) -> Tensor:
    """The rows as a kernel takes them, [N, H, R, D]: a view wherever strides allow."""
    return rows.view(x_BHTD).flatten(0, 1).flatten(2, -2)


def spread(rows: StridedView, rows_NHRD: Tensor, onto_BHTD: Tensor) -> Tensor:
    """Write rows to their places in a sequence: the inverse of `flat`."""
    view = rows.view(onto_BHTD)
    view.copy_(rows_NHRD.reshape(view.shape))
    return onto_BHTD


def _wide(dtype: torch.dtype) -> torch.dtype:
    """The type of softmax statistics."""
    return torch.promote_types(dtype, torch.float32)
