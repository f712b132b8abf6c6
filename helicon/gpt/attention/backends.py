"""Attention backends: implementations of a pattern over a whole sequence, all equal to the masked oracle.

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
from helicon.gpt.attention.kernels import MAX_GROUPS, fits_cuda_kernels
from helicon.gpt.attention.lse_merge import attend_tiles, flash_tiles, gather_rows, scatter_rows
from helicon.gpt.attention.masks import attend_masked
from helicon.gpt.attention.pattern_base import AttentionPattern
from helicon.gpt.attention.tiles import AttentionTile, disjoint, sequence_tiles

Attend = Callable[[Tensor, Tensor, Tensor, AttentionPattern, int], Tensor]  # q, k, v, pattern, prefix -> [B, H, T, D]
Supports = Callable[[Tensor, AttentionPattern, int], bool]  # q, pattern, prefix


class AttentionBackend(NamedTuple):
    """Attention backend.

    Attributes:
        attend: computes attended values [B, H, T, D].
        supports: returns True if CUDA can run it for these queries.
    """

    attend: Attend
    supports: Supports


class Tiling(NamedTuple):
    """Tiles of a sequence.

    Attributes:
        tiles: `AttentionTile`s that cover exactly the allowed pairs.
        disjoint: True if no query is in two tiles and no tile has a mask, so that nothing has to be merged.
    """

    tiles: tuple[AttentionTile, ...]
    disjoint: bool


@lru_cache(maxsize=64)
def tiling(pattern: AttentionPattern, prefix: int, length: int) -> Tiling:
    """Compute the tiles of a sequence. Cached, so that each mask is copied to the device once.

    Args:
        pattern: `AttentionPattern` of the target slot.
        prefix: number of positions before the target slot.
        length: tokens T of the sequence, prefix included.

    Returns:
        A `Tiling`: the `AttentionTile`s, and whether nothing has to be merged.
    """
    with torch.inference_mode(False):  # a cached mask may first be used in generation, and later in training
        tiles = sequence_tiles(pattern.tiles(length - prefix), length, prefix)
        return Tiling(tiles, all(tile.mask_RK is None for tile in tiles) and disjoint(tiles, length))


def _lse_merged(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> Tensor:
    """Run a fused kernel on each tile, and merge by log-sum-exp."""
    return flash_tiles(q_BHTD, k_BHTD, v_BHTD, tiling(pattern, prefix, q_BHTD.shape[2]).tiles)


def _matmul(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> Tensor:
    """Run matrix products on each tile, which keep the scores of allowed pairs for backward."""
    return attend_tiles(q_BHTD, k_BHTD, v_BHTD, tiling(pattern, prefix, q_BHTD.shape[2]).tiles)


def _disjoint(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> Tensor:
    """Run PyTorch's fused attention on each tile, where no query is in two tiles."""
    tiles, out_BHTD = tiling(pattern, prefix, q_BHTD.shape[2]).tiles, torch.zeros_like(q_BHTD)
    for tile in tiles:
        q_NHRD = gather_rows(tile.queries, q_BHTD)
        k_NHKD, v_NHKD = gather_rows(tile.keys, k_BHTD), gather_rows(tile.keys, v_BHTD)
        out_NHRD = F.scaled_dot_product_attention(q_NHRD, k_NHKD, v_NHKD, is_causal=tile.causal)
        out_BHTD = scatter_rows(tile.queries, out_NHRD, out_BHTD)
    return out_BHTD if tiles else (q_BHTD + k_BHTD + v_BHTD) * 0  # zeros that depend on all three, for autograd


def _flex(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> Tensor:
    return flex.attend_flex(q_BHTD, k_BHTD, v_BHTD, pattern, prefix)


def _supports_lse_merged(q_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> bool:
    return fits_cuda_kernels(q_BHTD, tiling(pattern, prefix, q_BHTD.shape[2]).tiles)


def _supports_disjoint(q_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> bool:
    tiled = tiling(pattern, prefix, q_BHTD.shape[2])
    groups = max((tile.queries.groups for tile in tiled.tiles), default=0)
    return tiled.disjoint and len(q_BHTD) * groups <= MAX_GROUPS


def _supports_flex(q_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> bool:
    return flex.supports(q_BHTD)


def _supports_all(q_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> bool:
    return True


# By name in the tables of measured times (see `selection`)
BACKENDS = {
    "disjoint": AttentionBackend(_disjoint, _supports_disjoint),
    "lse_merged": AttentionBackend(_lse_merged, _supports_lse_merged),
    "flex": AttentionBackend(_flex, _supports_flex),
    "masked": AttentionBackend(attend_masked, _supports_all),
    "matmul": AttentionBackend(_matmul, _supports_all),
}
