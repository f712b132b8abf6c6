"""One softmax over several tiles: each tile is computed separately, and merged by the log-sum-exp (LSE) of its scores.

With o_f, l_f the output and LSE of tile f, the merged ones are l = log sum_f exp(l_f) and o = sum_f exp(l_f - l) o_f. A
fused kernel's backward recomputes its weights as exp(score - l), and needs o only for the row sums of o * grad(o). So,
given the *merged* o and l instead of its own, it returns exactly the tile's part of the gradients.

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
    """Attend over tiles by the device's fastest kernels, most of which keep no scores, forward or backward.

    Args:
        q_BHTD: queries of H heads of width D, float.
        k_BHTD: keys, likewise.
        v_BHTD: values, likewise.
        tiles: `AttentionTile`s of the sequence.

    Returns:
        Attended values [B, H, T, D].
    """
    return _FlashTiles.apply(q_BHTD, k_BHTD, v_BHTD, tiles)  # type: ignore[return-value]  (apply is untyped)


def attend_tiles(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, tiles: Sequence[AttentionTile]) -> Tensor:
    """Attend over tiles by matrix products and autograd, on any device.

    Args:
        q_BHTD: queries of H heads of width D, float.
        k_BHTD: keys, likewise.
        v_BHTD: values, likewise.
        tiles: `AttentionTile`s of the sequence.

    Returns:
        Attended values [B, H, T, D].
    """
    if not tiles:
        return (q_BHTD + k_BHTD + v_BHTD) * 0  # no allowed pair: zeros that depend on all three, for autograd
    outs, lses = [], []
    for tile in tiles:
        q_NHRD = gather_rows(tile.queries, q_BHTD)
        k_NHKD, v_NHKD = gather_rows(tile.keys, k_BHTD), gather_rows(tile.keys, v_BHTD)
        scores_NHRK = (q_NHRD @ k_NHKD.mT * q_BHTD.shape[-1] ** -0.5).to(_wide(q_BHTD.dtype))
        mask_RK = tile_mask(tile, q_BHTD.device)
        if mask_RK is not None:
            scores_NHRK = scores_NHRK.where(mask_RK, -torch.inf)
        lse_NHR1 = scores_NHRK.logsumexp(-1, keepdim=True)
        out_NHRD = (scores_NHRK - lse_NHR1).exp().to(v_NHKD.dtype) @ v_NHKD
        outs.append(scatter_rows(tile.queries, out_NHRD, torch.zeros_like(q_BHTD)))
        # No weight for rows outside the tile. Finite instead of -inf, so that rows outside all tiles are not NaN
        absent_BHT1 = lse_NHR1.new_full((*q_BHTD.shape[:3], 1), torch.finfo(lse_NHR1.dtype).min / 2)
        lses.append(scatter_rows(tile.queries, lse_NHR1, absent_BHT1))
    weights = torch.stack(lses).softmax(0).to(v_BHTD.dtype)
    return (weights * torch.stack(outs)).sum(0)


class _FlashTiles(torch.autograd.Function):
    """Merged attention that saves q, k, v, the output, one LSE per row, and what the kernels need for backward."""

    @staticmethod
    def forward(ctx: Any, q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, tiles: Sequence[AttentionTile]) -> Tensor:
        out_BHTD = torch.zeros_like(q_BHTD)
        lse_BHT1 = q_BHTD.new_full((*q_BHTD.shape[:3], 1), -torch.inf, dtype=_wide(q_BHTD.dtype))
        saved = []
        for tile in tiles:
            q_NHRD = gather_rows(tile.queries, q_BHTD)
            k_NHKD, v_NHKD = gather_rows(tile.keys, k_BHTD), gather_rows(tile.keys, v_BHTD)
            kernel = kernel_for(q_NHRD, tile)
            out_NHRD, lse_NHR, kernel_saved = kernel.forward(q_NHRD, k_NHKD, v_NHKD, tile)
            saved.append((kernel, kernel_saved))
            out, lse = tile.queries.view(out_BHTD), tile.queries.view(lse_BHT1)
            tile_lse = lse_NHR.reshape(lse.shape)
            # = exp(tile_lse - logaddexp(lse, tile_lse)); exactly 1 for rows of no earlier tile
            weight = torch.sigmoid(tile_lse - lse).to(out.dtype)
            out.lerp_(out_NHRD.reshape(out.shape), weight)
            lse.copy_(torch.logaddexp(lse, tile_lse))
        ctx.save_for_backward(q_BHTD, k_BHTD, v_BHTD, out_BHTD, lse_BHT1)
        ctx.tiles, ctx.saved = tiles, saved
        return out_BHTD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BHTD: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:  # type: ignore[override]
        q_BHTD, k_BHTD, v_BHTD, out_BHTD, lse_BHT1 = ctx.saved_tensors
        grads = torch.zeros_like(q_BHTD), torch.zeros_like(k_BHTD), torch.zeros_like(v_BHTD)
        for tile, (kernel, kernel_saved) in zip(ctx.tiles, ctx.saved, strict=True):
            queries, keys = tile.queries, tile.keys
            q_NHRD, k_NHKD = gather_rows(queries, q_BHTD), gather_rows(keys, k_BHTD)
            v_NHKD, grad_NHRD = gather_rows(keys, v_BHTD), gather_rows(queries, grad_BHTD)
            merged = gather_rows(queries, out_BHTD), gather_rows(queries, lse_BHT1).squeeze(-1)
            tile_grads = kernel.backward(grad_NHRD, q_NHRD, k_NHKD, v_NHKD, *merged, tile, kernel_saved)
            for grad, rows, tile_grad in zip(grads, (queries, keys, keys), tile_grads, strict=True):
                view = rows.view(grad)
                view += tile_grad.reshape(view.shape)
        return *grads, None


def gather_rows(rows: StridedView, x_BHTD: Tensor) -> Tensor:
    """Gather rows of a sequence into the batch shape of a kernel.

    Args:
        rows: `StridedView`, the query or key rows of a tile.
        x_BHTD: queries, keys or values of the sequence: H heads, T tokens, D features.

    Returns:
        [N, H, R, D], N = batch x groups of the view and R the rows of a group: a view where strides allow, else a copy.
    """
    return rows.view(x_BHTD).flatten(0, 1).flatten(2, -2)


def scatter_rows(rows: StridedView, rows_NHRD: Tensor, out_BHTD: Tensor) -> Tensor:
    """Write rows back into a sequence: the inverse of `gather_rows`.

    Args:
        rows: `StridedView`, the query rows of a tile.
        rows_NHRD: values to write: N = batch x groups of the view, H heads, R rows of a group, D features.
        out_BHTD: sequence of T tokens to write to, in place.

    Returns:
        out_BHTD itself.
    """
    view = rows.view(out_BHTD)
    view.copy_(rows_NHRD.reshape(view.shape))
    return out_BHTD


def _wide(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of softmax statistics: float32, or wider."""
    return torch.promote_types(dtype, torch.float32)
