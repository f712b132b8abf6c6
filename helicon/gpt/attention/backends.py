"""The ways to run a pattern over a whole sequence, each of them what the masked oracle gives.

Shapes: B batch, H heads, T tokens, D features; N = batch x groups of a tile, R its query rows, K its keys.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from helicon.gpt.attention import flex
from helicon.gpt.attention.kernels import MOST_GROUPS, fits_cuda_kernels
from helicon.gpt.attention.lse_merge import attend_tiles, flash_tiles, flat, spread
from helicon.gpt.attention.masks import attend_masked
from helicon.gpt.attention.pattern_base import AttentionPattern
from helicon.gpt.attention.tiles import AttentionTile, disjoint, sequence_tiles

Attend = Callable[[Tensor, Tensor, Tensor, AttentionPattern, int], Tensor]  # q, k, v, pattern, prefix -> [B, H, T, D]
Supports = Callable[[Tensor, AttentionPattern, int], bool]  # q, pattern, prefix


class AttentionBackend(NamedTuple):
    """How to attend, and whether CUDA can do it so for these queries."""

    attend: Attend
    supports: Supports


class Tiling(NamedTuple):
    """The tiles of a sequence. disjoint: whether no query is in two of them and none has a mask."""

    tiles: tuple[AttentionTile, ...]
    disjoint: bool


@lru_cache(maxsize=64)
def tiling(pattern: AttentionPattern, prefix: int, length: int) -> Tiling:
    """The tiles of a pattern whose index 0 is position `prefix`, kept: so their masks are on the device but once."""
    with torch.inference_mode(False):
        tiles = sequence_tiles(pattern.tiles(length - prefix), length, prefix)
        return Tiling(tiles, all(tile.mask_RK is None for tile in tiles) and disjoint(tiles, length))


def _lse_merged(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> Tensor:
    """AttentionTile by tile through fused kernels, merged."""
    return flash_tiles(q_BHTD, k_BHTD, v_BHTD, tiling(pattern, prefix, q_BHTD.shape[2]).tiles)


def _matmul(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> Tensor:
    """AttentionTile by tile through matrix products, which keep the scores of what is seen."""
    return attend_tiles(q_BHTD, k_BHTD, v_BHTD, tiling(pattern, prefix, q_BHTD.shape[2]).tiles)


def _disjoint(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> Tensor:
    """AttentionTile by tile through PyTorch's fused attention, where there is nothing to merge."""
    tiles, out_BHTD = tiling(pattern, prefix, q_BHTD.shape[2]).tiles, torch.zeros_like(q_BHTD)
    for tile in tiles:
        q_NHRD, k_NHKD, v_NHKD = flat(tile.queries, q_BHTD), flat(tile.keys, k_BHTD), flat(tile.keys, v_BHTD)
        out_NHRD = F.scaled_dot_product_attention(q_NHRD, k_NHKD, v_NHKD, is_causal=tile.causal)
        out_BHTD = spread(tile.queries, out_NHRD, out_BHTD)
    return out_BHTD if tiles else (q_BHTD + k_BHTD + v_BHTD) * 0  # still a function of all three, for autograd


def _flex(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> Tensor:
    return flex.attend_flex(q_BHTD, k_BHTD, v_BHTD, pattern, prefix)


def _supports_lse_merged(q_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> bool:
    return fits_cuda_kernels(q_BHTD, tiling(pattern, prefix, q_BHTD.shape[2]).tiles)


def _supports_disjoint(q_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> bool:
    found = tiling(pattern, prefix, q_BHTD.shape[2])
    groups = max((tile.queries.groups for tile in found.tiles), default=0)
    return found.disjoint and len(q_BHTD) * groups <= MOST_GROUPS


def _supports_flex(q_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> bool:
    return flex.supports(q_BHTD)


def _supports_all(q_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> bool:
    return True


BACKENDS = {
    "disjoint": AttentionBackend(_disjoint, _supports_disjoint),
    "lse_merged": AttentionBackend(_lse_merged, _supports_lse_merged),
    "flex": AttentionBackend(_flex, _supports_flex),
    "masked": AttentionBackend(attend_masked, _supports_all),
    "matmul": AttentionBackend(_matmul, _supports_all),
}
