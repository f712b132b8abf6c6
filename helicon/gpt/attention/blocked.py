"""Dense causal attention by plain matrix products, one block of queries at a time: the fastest for training on a CPU.

PyTorch's fused CPU kernels are blocked for a small cache, and reach a quarter to a third of the speed of a matrix
product, bfloat16 above all. Here a block of queries attends to all keys up to its end at once, so that its softmax is
complete and nothing is merged; the masked part above the diagonal costs half a block of keys per query. Weights are
saved, which spares backward a product and an exponential. They are T x T numbers, so this is for short sequences.

Shapes: B batch, H heads, T tokens, D features; N = B x H, R queries of a block, K keys up to its end.
"""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.autograd.function import once_differentiable

_softmax_backward = torch.ops.aten._softmax_backward_data
ROW_BYTES = 320  # bytes of one feature of a block's queries: 160 queries in bfloat16, 80 in float32
MAX_WEIGHT_BYTES = 4096  # bytes of a query's weights: 2,048 tokens in bfloat16, as much as a layer saves otherwise


def supports(q_BHTD: Tensor) -> bool:
    """Return True if queries [B, H, T, D] are trained on a CPU, with T x T weights small enough to save for backward.

    Never in float16. H is the number of heads, T the number of tokens, D the head width.
    """
    needs_grad = torch.is_grad_enabled() and q_BHTD.requires_grad
    short = q_BHTD.shape[2] * q_BHTD.element_size() <= MAX_WEIGHT_BYTES
    return needs_grad and short and q_BHTD.device.type == "cpu" and q_BHTD.dtype != torch.float16


def attend_blocks(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor) -> Tensor:
    """Attend causally, each query to all keys up to its own.

    Args:
        q_BHTD: queries of H heads of width D, float.
        k_BHTD: keys, likewise.
        v_BHTD: values, likewise.

    Returns:
        Attended values [B, H, T, D].
    """
    return _Blocks.apply(q_BHTD, k_BHTD, v_BHTD)  # type: ignore[return-value]  (apply is untyped)


class _Blocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor) -> Tensor:
        heads, out_BTHD = q_BHTD.shape[1], torch.empty_like(q_BHTD.transpose(1, 2))
        q_NTD, k_NTD, v_NTD = _fold_heads(q_BHTD) * q_BHTD.shape[-1] ** -0.5, _fold_heads(k_BHTD), _fold_heads(v_BHTD)
        size, weights = _block_rows(q_NTD), []
        bias_RR = torch.full((size, size), -torch.inf, dtype=q_NTD.dtype).triu_(1)  # causal mask within the block
        for rows in _blocks(q_NTD):
            scores_NRK = torch.bmm(_copy_rows(q_NTD, rows), _copy_rows(k_NTD, slice(rows.stop)).mT)
            scores_NRK[..., rows] += bias_RR[: scores_NRK.shape[1], : scores_NRK.shape[1]]
            weights.append(scores_NRK.softmax(-1))
            out_NRD = torch.bmm(weights[-1], _copy_rows(v_NTD, slice(rows.stop)))
            out_BTHD[:, rows] = rearrange(out_NRD, "(b h) r d -> b r h d", h=heads)
        ctx.save_for_backward(q_NTD, k_NTD, v_NTD, *weights)
        return out_BTHD.transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BHTD: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        q_NTD, k_NTD, v_NTD, *weights = ctx.saved_tensors
        grad_NTD, grad_q_NTD = _fold_heads(grad_BHTD), torch.empty_like(q_NTD)
        wide = torch.promote_types(q_NTD.dtype, torch.float32)
        sums: list[Tensor] = []  # gradients of keys and values; the last block, first here, covers all of them
        for rows, weights_NRK in zip(reversed(_blocks(q_NTD)), reversed(weights), strict=True):
            keys, grad_NRD = slice(rows.stop), _copy_rows(grad_NTD, rows)
            grad_weights_NRK = torch.bmm(grad_NRD, _copy_rows(v_NTD, keys).mT)
            grad_scores_NRK = _softmax_backward(grad_weights_NRK, weights_NRK, -1, weights_NRK.dtype)
            grad_q_NTD[:, rows] = torch.bmm(grad_scores_NRK, _copy_rows(k_NTD, keys))
            block_grads = torch.bmm(grad_scores_NRK.mT, _copy_rows(q_NTD, rows)), torch.bmm(weights_NRK.mT, grad_NRD)
            for sum_NTD, grad_NKD in zip(sums, block_grads):
                sum_NTD[:, keys] += grad_NKD
            sums = sums or [grad_NTD.to(wide) for grad_NTD in block_grads]
        grads = grad_q_NTD.mul_(q_NTD.shape[-1] ** -0.5), *sums
        return tuple(grad.to(q_NTD.dtype).view_as(grad_BHTD) for grad in grads)


def _fold_heads(x_BHTD: Tensor) -> Tensor:
    """Fold heads into the batch: [N, T, D], contiguous."""
    return x_BHTD.flatten(0, 1).contiguous()


def _copy_rows(x_NTD: Tensor, rows: slice) -> Tensor:
    """Copy some rows: products of operands that are not contiguous take half as long again."""
    return x_NTD[:, rows].contiguous()


def _block_rows(q_NTD: Tensor) -> int:
    """Return R, which all blocks have but the last."""
    return ROW_BYTES // q_NTD.element_size()


def _blocks(q_NTD: Tensor) -> list[slice]:
    """Split the queries into blocks."""
    length, size = q_NTD.shape[1], _block_rows(q_NTD)
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]
