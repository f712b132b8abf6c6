"""Fused attention that also gives the log-sum-exp of its scores, of which several can be merged (see `folded`).

PyTorch's own kernels, called as its ring attention calls them (torch.distributed.tensor.experimental): backward takes a
merged output and log-sum-exp as well as its own. Natural logarithms everywhere.

Shapes: N batch, H heads, R query rows, K keys, D features.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from helicon.gpt.attention import matmul
from helicon.gpt.attention.tiles import AttentionTile

MOST_GROUPS = 65535  # the batch of a CUDA kernel is an axis of its grid
WIDEST = 128  # head width that every card's flash kernel takes, backward too
_aten = torch.ops.aten

# forward(q, k, v, tile) -> output [N, H, R, D], log-sum-exp [N, H, R], whatever backward wants to have back
Forward = Callable[[Tensor, Tensor, Tensor, AttentionTile], tuple[Tensor, Tensor, Any]]
# backward(grad, q, k, v, output, log-sum-exp, tile, kept) -> gradients of q, k, v
Backward = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, AttentionTile, Any], tuple[Tensor, Tensor, Tensor]]


class Kernel(NamedTuple):
    """A pair of functions on the rows of one tile."""

    forward: Forward
    backward: Backward


def kernel_for(q_NHRD: Tensor, tile: AttentionTile) -> Kernel:
    """On a CPU products in bfloat16, else flash; on CUDA flash for half precision without a mask, else the
    memory-efficient kernel."""
    if q_NHRD.device.type == "cpu":
        return CPU_PRODUCTS if matmul.fits(q_NHRD, tile) else CPU_FLASH
    flash = tile.mask_RK is None and q_NHRD.dtype != torch.float32 and q_NHRD.shape[-1] <= WIDEST
    return CUDA_FLASH if flash and torch.cuda.get_device_capability(q_NHRD.device) >= (8, 0) else CUDA_EFFICIENT


def fits_cuda_kernels(q_BHTD: Tensor, tiles: tuple[AttentionTile, ...]) -> bool:
    """Whether both CUDA kernels take these queries, by type, alignment and number of groups."""
    groups = max((tile.queries.groups for tile in tiles), default=0)
    precise = q_BHTD.dtype == torch.float64
    return not precise and q_BHTD.shape[-1] % 8 == 0 and len(q_BHTD) * groups <= MOST_GROUPS


def _cpu_forward(q: Tensor, k: Tensor, v: Tensor, tile: AttentionTile) -> tuple[Tensor, Tensor, None]:
    bias_RK = _bias(tile, q.dtype, q.device)
    out, lse = _aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, tile.causal, attn_mask=bias_RK)
    return out, lse, None


def _cpu_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, tile: AttentionTile, kept: None
) -> tuple[Tensor, Tensor, Tensor]:
    bias_RK = _bias(tile, q.dtype, q.device)
    return _aten._scaled_dot_product_flash_attention_for_cpu_backward(
        grad, q, k, v, out, lse, 0.0, tile.causal, attn_mask=bias_RK
    )


def _flash_forward(q: Tensor, k: Tensor, v: Tensor, tile: AttentionTile) -> tuple[Tensor, Tensor, Any]:
    """A causal tile is square: where it is not, this kernel would align it at the end."""
    out, lse, *kept = _aten._scaled_dot_product_flash_attention(q, k, v, 0.0, tile.causal, False)
    return out, lse, kept[:-1]


def _flash_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, tile: AttentionTile, kept: Any
) -> tuple[Tensor, Tensor, Tensor]:
    *lengths, seed, offset = kept
    lse = lse.contiguous()  # the kernel knows no strides of it
    return _aten._scaled_dot_product_flash_attention_backward(
        grad, q, k, v, out, lse, *lengths, 0.0, tile.causal, seed, offset
    )


def _efficient_forward(q: Tensor, k: Tensor, v: Tensor, tile: AttentionTile) -> tuple[Tensor, Tensor, Any]:
    bias = _expanded_bias(q, tile)
    out, lse, *kept = _aten._scaled_dot_product_efficient_attention(q, k, v, bias, True, 0.0, tile.causal)
    return out, lse[..., : q.shape[2]], kept


def _efficient_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, tile: AttentionTile, kept: Any
) -> tuple[Tensor, Tensor, Tensor]:
    out = out.transpose(1, 2).contiguous().transpose(1, 2)  # as forward lays it out
    lse = F.pad(lse, (0, -lse.shape[2] % 32), value=torch.inf)  # rows that there are not: no weight
    bias = _expanded_bias(q, tile)
    wanted = [True, True, True, False]
    grads = _aten._scaled_dot_product_efficient_attention_backward(
        grad, q, k, v, bias, out, lse, *kept, 0.0, wanted, tile.causal
    )
    return grads[0], grads[1], grads[2]


def _expanded_bias(q_NHRD: Tensor, tile: AttentionTile) -> Tensor | None:
    """[N, H, R, K], the same memory for all of N and H."""
    bias_RK = _bias(tile, q_NHRD.dtype, q_NHRD.device)
    return None if bias_RK is None else bias_RK.expand(*q_NHRD.shape[:2], -1, -1)


@lru_cache(maxsize=64)
def _bias(tile: AttentionTile, dtype: torch.dtype, device: torch.device) -> Tensor | None:
    """A tile's mask as kernels take it, added to the scores; rows begin at multiples of 16 numbers, as CUDA's want."""
    if tile.mask_RK is None:
        return None
    rows, keys = tile.mask_RK.shape
    with torch.inference_mode(False):  # it may be seen first while generating, and then be trained with
        wide = torch.zeros(rows, -(-keys // 16) * 16, dtype=dtype, device=device)
        return wide[:, :keys].masked_fill_(~tile.mask_RK.to(device), -torch.inf)


CPU_FLASH = Kernel(_cpu_forward, _cpu_backward)
CPU_PRODUCTS = Kernel(matmul.forward, matmul.backward)
CUDA_FLASH = Kernel(_flash_forward, _flash_backward)
CUDA_EFFICIENT = Kernel(_efficient_forward, _efficient_backward)
