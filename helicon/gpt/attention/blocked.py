"""Dense causal attention by plain matrix products, a block of queries at a time: what trains fastest on a CPU.

Fused kernels of CPUs view for the smallest cache and reach a quarter to a third of the speed of a matrix product, in
bfloat16 above all. Here a block of queries meets all keys up to its end at once, so a softmax is whole and nothing is
merged; what lies above the diagonal costs half a block a row. Weights are kept for backward, which spares it a product
and an exponential: so this is for as many tokens as leave them small.

Shapes: B batch, H heads, T tokens, D features; N = B x H, R queries of a block, K the keys up to its end.
"""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from torch.autograd.function import once_differentiable

_softmax_backward = torch.ops.aten._softmax_backward_data
ROW_BYTES = 320  # of one feature of a block's queries: 160 queries in bfloat16, 80 in float32
LONGEST_BYTES = 4096  # of all weights of a query: 2,048 tokens in bfloat16, as many as a layer keeps besides


def fits(q_BHTD: Tensor) -> bool:
    """Whether queries are trained with on a CPU, and their weights few enough to be kept."""
    learns = torch.is_grad_enabled() and q_BHTD.requires_grad
    short = q_BHTD.shape[2] * q_BHTD.element_size() <= LONGEST_BYTES
    return learns and short and q_BHTD.device.type == "cpu" and q_BHTD.dtype != torch.float16


def attend_blocks(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor) -> Tensor:
    """Causal attention: each query sees all keys up to its own."""
    return _Blocks.apply(q_BHTD, k_BHTD, v_BHTD)  # type: ignore[return-value]  (apply is untyped)


class _Blocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor) -> Tensor:
        heads, out_BTHD = q_BHTD.shape[1], torch.empty_like(q_BHTD.transpose(1, 2))
        q_NTD, k_NTD, v_NTD = _flat(q_BHTD) * q_BHTD.shape[-1] ** -0.5, _flat(k_BHTD), _flat(v_BHTD)
        size, weights = _block_rows(q_NTD), []
        bias_RR = torch.full((size, size), -torch.inf, dtype=q_NTD.dtype).triu_(1)  # on what a block sees of itself
        for rows in _blocks(q_NTD):
            scores_NRK = torch.bmm(_cut(q_NTD, rows), _cut(k_NTD, slice(rows.stop)).mT)
            scores_NRK[..., rows] += bias_RR[: scores_NRK.shape[1], : scores_NRK.shape[1]]
            weights.append(scores_NRK.softmax(-1))
            out_NRD = torch.bmm(weights[-1], _cut(v_NTD, slice(rows.stop)))
            out_BTHD[:, rows] = rearrange(out_NRD, "(b h) r d -> b r h d", h=heads)
        ctx.save_for_backward(q_NTD, k_NTD, v_NTD, *weights)
        return out_BTHD.transpose(1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_BHTD: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        q_NTD, k_NTD, v_NTD, *weights = ctx.saved_tensors
        grad_NTD, grad_q_NTD = _flat(grad_BHTD), torch.empty_like(q_NTD)
        wide = torch.promote_types(q_NTD.dtype, torch.float32)
        sums: list[Tensor] = []  # of keys and values: the last block meets all of them, the others add to it
        for rows, weights_NRK in zip(reversed(_blocks(q_NTD)), reversed(weights), strict=True):
            keys, grad_NRD = slice(rows.stop), _cut(grad_NTD, rows)
            grad_weights_NRK = torch.bmm(grad_NRD, _cut(v_NTD, keys).mT)
            grad_scores_NRK = _softmax_backward(grad_weights_NRK, weights_NRK, -1, weights_NRK.dtype)
            grad_q_NTD[:, rows] = torch.bmm(grad_scores_NRK, _cut(k_NTD, keys))
            more = torch.bmm(grad_scores_NRK.mT, _cut(q_NTD, rows)), torch.bmm(weights_NRK.mT, grad_NRD)
            for sum_NTD, more_NKD in zip(sums, more):
                sum_NTD[:, keys] += more_NKD
            sums = sums or [more_NTD.to(wide) for more_NTD in more]
        grads = grad_q_NTD.mul_(q_NTD.shape[-1] ** -0.5), *sums
        return tuple(grad.to(q_NTD.dtype).view_as(grad_BHTD) for grad in grads)


def _flat(x_BHTD: Tensor) -> Tensor:
    """[N, T, D]."""
    return x_BHTD.flatten(0, 1).contiguous()


def _cut(x_NTD: Tensor, rows: slice) -> Tensor:
    """Some rows, copied: products of what does not lie together take half as long again."""
    return x_NTD[:, rows].contiguous()


def _block_rows(q_NTD: Tensor) -> int:
    """R, but for the last block."""
    return ROW_BYTES // q_NTD.element_size()


def _blocks(q_NTD: Tensor) -> list[slice]:
    """The queries of each block."""
    length, size = q_NTD.shape[1], _block_rows(q_NTD)
    return [slice(start, min(start + size, length)) for start in range(0, length, size)]
