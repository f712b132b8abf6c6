"""Attention over one tile by matrix products, in bfloat16 on a CPU several times faster than PyTorch's fused kernel.

Like a fused kernel, forward returns the log-sum-exp of scores, and backward accepts a merged one (see `lse_merge`).
Weights are saved for backward.

Shapes: N batch x groups of a tile x heads, R query rows, K keys, D features.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from helicon.gpt.attention.tiles import AttentionTile, tile_mask

MAX_KEYS = 2048  # of a tile; with more, weights take more memory than all else that a layer saves


class AttentionWeights(NamedTuple):
    """Softmax over one tile, not merged with other tiles.

    Attributes:
        weights_NRK: the softmax, N = batch x groups x heads, R query rows, K keys.
        lse_NR: natural log-sum-exp of the scores.
    """

    weights_NRK: Tensor
    lse_NR: Tensor


def supports(q_NHRD: Tensor, tile: AttentionTile) -> bool:
    """Choose between matrix products and the fused kernel.

    Args:
        q_NHRD: queries of the tile: N = batch x groups, H heads, R rows, width D.
        tile: `AttentionTile` to compute.

    Returns:
        True where products are faster than the fused kernel, and their weights small enough to be saved.
    """
    return q_NHRD.device.type == "cpu" and q_NHRD.dtype == torch.bfloat16 and tile.keys.rows <= MAX_KEYS


def forward(
    q_NHRD: Tensor, k_NHKD: Tensor, v_NHKD: Tensor, tile: AttentionTile
) -> tuple[Tensor, Tensor, AttentionWeights]:
    """Attend over one tile.

    Args:
        q_NHRD: queries of the tile, not scaled: N = batch x groups, H heads, R rows, width D; scores are q k / sqrt(D).
        k_NHKD: keys of its K key rows.
        v_NHKD: their values.
        tile: `AttentionTile`, for its mask; all tensors are on the CPU if it has one.

    Returns:
        Output [N, H, R, D], log-sum-exp of the scores [N, H, R], natural and in float32 or wider, and the
        `AttentionWeights` that backward needs.
    """
    q_NRD, k_NKD, v_NKD = (x.flatten(0, 1) for x in (q_NHRD, k_NHKD, v_NHKD))
    scores_NRK = torch.bmm(q_NRD * q_NRD.shape[-1] ** -0.5, k_NKD.mT)
    if tile.causal or tile.mask_RK is not None:
        mask_RK = tile_mask(tile, torch.device("cpu"))
        assert mask_RK is not None
        scores_NRK += _bias(mask_RK, scores_NRK.dtype)
    weights_NRK = scores_NRK.softmax(-1)
    # From the largest weight, which is exp(largest score - lse)
    wide = torch.promote_types(scores_NRK.dtype, torch.float32)
    lse_NR = scores_NRK.amax(-1).to(wide) - weights_NRK.amax(-1).to(wide).log()
    out_NRD = torch.bmm(weights_NRK, v_NKD)
    heads = q_NHRD.shape[:2]
    return out_NRD.unflatten(0, heads), lse_NR.unflatten(0, heads), AttentionWeights(weights_NRK, lse_NR)


def backward(
    grad_NHRD: Tensor, q_NHRD: Tensor, k_NHKD: Tensor, v_NHKD: Tensor, out_NHRD: Tensor, lse_NHR: Tensor,
    tile: AttentionTile, saved: AttentionWeights,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Compute the tile's part of the gradients.

    Args:
        grad_NHRD: gradient of the merged output: N = batch x groups, H heads, R query rows, width D.
        q_NHRD: queries of the tile.
        k_NHKD: keys of its K key rows.
        v_NHKD: their values.
        out_NHRD: output merged over all tiles.
        lse_NHR: log-sum-exp merged over all tiles.
        tile: `AttentionTile`, not used; for the form of all kernels.
        saved: `AttentionWeights` of this tile alone, as `forward` returned them.

    Returns:
        Gradients of queries [N, H, R, D], keys and values [N, H, K, D].
    """
    q_NRD, k_NKD, v_NKD, out_NRD, lse_NR = (x.flatten(0, 1) for x in (q_NHRD, k_NHKD, v_NHKD, out_NHRD, lse_NHR))
    # Merged weights are the tile's own times this factor; applied to the gradient, which is smaller than the weights
    factor_NR1 = (saved.lse_NR - lse_NR).exp()[..., None]
    grad_NRD = (grad_NHRD.flatten(0, 1) * factor_NR1).to(q_NRD.dtype)
    grad_v_NKD = torch.bmm(saved.weights_NRK.mT, grad_NRD)
    mean_NR1 = (grad_NRD.to(lse_NR.dtype) * out_NRD).sum(-1, keepdim=True).to(q_NRD.dtype)
    grad_scores_NRK = torch.bmm(grad_NRD, v_NKD.mT).sub_(mean_NR1).mul_(saved.weights_NRK)
    scale, heads = q_NRD.shape[-1] ** -0.5, q_NHRD.shape[:2]
    grad_q_NRD = torch.bmm(grad_scores_NRK, k_NKD) * scale
    grad_k_NKD = torch.bmm(grad_scores_NRK.mT, q_NRD) * scale
    return grad_q_NRD.unflatten(0, heads), grad_k_NKD.unflatten(0, heads), grad_v_NKD.unflatten(0, heads)


@lru_cache(maxsize=64)
def _bias(mask_RK: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert a mask to a bias [R, K] of the scores: 0 for allowed pairs, else -inf."""
    with torch.inference_mode(False):  # cached: it may first be used in generation, and later in training
        return torch.zeros(mask_RK.shape, dtype=dtype).masked_fill_(~mask_RK, -torch.inf)
