"""Fused attention kernels that also return the log-sum-exp of scores, so that tiles can be merged (see `lse_merge`).

PyTorch's own kernels, called as its ring attention calls them (torch.distributed.tensor.experimental): backward accepts
a merged output and log-sum-exp instead of the tile's own. All logarithms are natural.

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

MAX_GROUPS = 65535  # batch of a CUDA kernel: it is a y or z axis of the launch grid, which ends there
MAX_FLASH_WIDTH = 128  # head width up to which the flash kernel has a backward on every card
_aten = torch.ops.aten

# forward(q, k, v, tile) -> output [N, H, R, D], log-sum-exp [N, H, R], whatever backward needs
Forward = Callable[[Tensor, Tensor, Tensor, AttentionTile], tuple[Tensor, Tensor, Any]]
# backward(grad, q, k, v, output, log-sum-exp, tile, saved) -> gradients of q, k, v
Backward = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, AttentionTile, Any], tuple[Tensor, Tensor, Tensor]]


class Kernel(NamedTuple):
    """Functions of attention over one tile, with the arguments and results that `Forward` and `Backward` list."""

    forward: Forward
    backward: Backward


def kernel_for(q_NHRD: Tensor, tile: AttentionTile) -> Kernel:
    """Choose the kernel of a tile.

    Args:
        q_NHRD: queries of the tile: N = batch x groups, H heads, R rows, width D.
        tile: `AttentionTile` to compute.

    Returns:
        A `Kernel`. On a CPU matrix products for bfloat16, else flash attention; on CUDA flash attention for half
        precision without a mask, else the memory-efficient kernel.
    """
    if q_NHRD.device.type == "cpu":
        return CPU_PRODUCTS if matmul.supports(q_NHRD, tile) else CPU_FLASH
    flash = tile.mask_RK is None and q_NHRD.dtype != torch.float32 and q_NHRD.shape[-1] <= MAX_FLASH_WIDTH
    return CUDA_FLASH if flash and torch.cuda.get_device_capability(q_NHRD.device) >= (8, 0) else CUDA_EFFICIENT


def fits_cuda_kernels(q_BHTD: Tensor, tiles: tuple[AttentionTile, ...]) -> bool:
    """Check dtype, alignment and number of groups against the limits of both CUDA kernels.

    Args:
        q_BHTD: queries of the sequence, H heads of width D, T tokens.
        tiles: `AttentionTile`s of the sequence.

    Returns:
        True if both kernels take every tile.
    """
    groups = max((tile.queries.groups for tile in tiles), default=0)
    aligned = q_BHTD.shape[-1] % 8 == 0  # 16 bytes in half precision
    return q_BHTD.dtype != torch.float64 and aligned and len(q_BHTD) * groups <= MAX_GROUPS


def _cpu_forward(q: Tensor, k: Tensor, v: Tensor, tile: AttentionTile) -> tuple[Tensor, Tensor, None]:
    bias_RK = _bias(tile, q.dtype, q.device)
    out, lse = _aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, tile.causal, attn_mask=bias_RK)
    return out, lse, None


def _cpu_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, tile: AttentionTile, saved: None
) -> tuple[Tensor, Tensor, Tensor]:
    bias_RK = _bias(tile, q.dtype, q.device)
    return _aten._scaled_dot_product_flash_attention_for_cpu_backward(
        grad, q, k, v, out, lse, 0.0, tile.causal, attn_mask=bias_RK
    )


def _flash_forward(q: Tensor, k: Tensor, v: Tensor, tile: AttentionTile) -> tuple[Tensor, Tensor, Any]:
    """Run the flash kernel. Causal tiles are square: it would align the diagonal of others at the end."""
    out, lse, *saved = _aten._scaled_dot_product_flash_attention(q, k, v, 0.0, tile.causal, False)
    return out, lse, saved[:-1]


def _flash_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, tile: AttentionTile, saved: Any
) -> tuple[Tensor, Tensor, Tensor]:
    *lengths, seed, offset = saved
    lse = lse.contiguous()  # the kernel ignores its strides
    return _aten._scaled_dot_product_flash_attention_backward(
        grad, q, k, v, out, lse, *lengths, 0.0, tile.causal, seed, offset
    )


def _efficient_forward(q: Tensor, k: Tensor, v: Tensor, tile: AttentionTile) -> tuple[Tensor, Tensor, Any]:
    bias = _expanded_bias(q, tile)
    out, lse, *saved = _aten._scaled_dot_product_efficient_attention(q, k, v, bias, True, 0.0, tile.causal)
    return out, lse[..., : q.shape[2]], saved


def _efficient_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, tile: AttentionTile, saved: Any
) -> tuple[Tensor, Tensor, Tensor]:
    out = out.transpose(1, 2).contiguous().transpose(1, 2)  # the memory layout of forward's output
    # The kernel wants multiples of 32 rows; infinity gives the added ones no weight
    lse = F.pad(lse, (0, -lse.shape[2] % 32), value=torch.inf)
    bias = _expanded_bias(q, tile)
    grad_mask = [True, True, True, False]  # q, k, v, but not the bias
    grads = _aten._scaled_dot_product_efficient_attention_backward(
        grad, q, k, v, bias, out, lse, *saved, 0.0, grad_mask, tile.causal
    )
    return grads[0], grads[1], grads[2]


def _expanded_bias(q_NHRD: Tensor, tile: AttentionTile) -> Tensor | None:
    """Expand a tile's bias to [N, H, R, K], which shares memory over N and H."""
    bias_RK = _bias(tile, q_NHRD.dtype, q_NHRD.device)
    return None if bias_RK is None else bias_RK.expand(*q_NHRD.shape[:2], -1, -1)


@lru_cache(maxsize=64)
def _bias(tile: AttentionTile, dtype: torch.dtype, device: torch.device) -> Tensor | None:
    """Convert a tile's mask to a bias [R, K] of the scores; rows start at multiples of 16 numbers, as CUDA requires."""
    if tile.mask_RK is None:
        return None
    rows, keys = tile.mask_RK.shape
    with torch.inference_mode(False):  # cached: it may first be used in generation, and later in training
        wide = torch.zeros(rows, -(-keys // 16) * 16, dtype=dtype, device=device)
        return wide[:, :keys].masked_fill_(~tile.mask_RK.to(device), -torch.inf)


CPU_FLASH = Kernel(_cpu_forward, _cpu_backward)
CPU_PRODUCTS = Kernel(matmul.forward, matmul.backward)
CUDA_FLASH = Kernel(_flash_forward, _flash_backward)
CUDA_EFFICIENT = Kernel(_efficient_forward, _efficient_backward)
