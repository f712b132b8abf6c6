"""One tile's attention by matrix products, which CPUs multiply in bfloat16 several times faster than they fuse it.

As a fused kernel it gives the log-sum-exp of its scores and takes a merged one back (see `folded`). Weights are kept
for backward.

Shapes: N batch x groups of a tile x heads, R query rows, K keys, D features.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from helicon.gpt.attention.tiles import AttentionTile, tile_mask

LONGEST = 2048  # keys of a tile: with more of them, weights outweigh whatever else a layer keeps


class AttentionWeights(NamedTuple):
    """A tile's own softmax [N, R, K], and the log-sum-exp [N, R] of its scores."""

    own_NRK: Tensor
    lse_NR: Tensor


def fits(q_NHRD: Tensor, tile: AttentionTile) -> bool:
    """Whether this is faster than the fused kernel, and small enough."""
    return q_NHRD.device.type == "cpu" and q_NHRD.dtype == torch.bfloat16 and tile.keys.rows <= LONGEST


def forward(
    q_NHRD: Tensor, k_NHKD: Tensor, v_NHKD: Tensor, tile: AttentionTile
) -> tuple[Tensor, Tensor, AttentionWeights]:
    """Output, log-sum-exp, and what backward wants to have back."""
    q_NRD, k_NKD, v_NKD = (x.flatten(0, 1) for x in (q_NHRD, k_NHKD, v_NHKD))
    scores_NRK = torch.bmm(q_NRD * q_NRD.shape[-1] ** -0.5, k_NKD.mT)
    if tile.causal or tile.mask_RK is not None:
        mask_RK = tile_mask(tile, torch.device("cpu"))
        assert mask_RK is not None
        scores_NRK += _bias(mask_RK, scores_NRK.dtype)
    own_NRK = scores_NRK.softmax(-1)
    # The largest weight is exp(largest score - lse)
    wide = torch.promote_types(scores_NRK.dtype, torch.float32)
    lse_NR = scores_NRK.amax(-1).to(wide) - own_NRK.amax(-1).to(wide).log()
    out_NRD = torch.bmm(own_NRK, v_NKD)
    heads = q_NHRD.shape[:2]
    return out_NRD.unflatten(0, heads), lse_NR.unflatten(0, heads), AttentionWeights(own_NRK, lse_NR)


def backward(
    grad_NHRD: Tensor, q_NHRD: Tensor, k_NHKD: Tensor, v_NHKD: Tensor, out_NHRD: Tensor, lse_NHR: Tensor,
    tile: AttentionTile, kept: AttentionWeights,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Gradients of q, k and v, `out` and `lse` those of all tiles."""
    q_NRD, k_NKD, v_NKD, out_NRD, lse_NR = (x.flatten(0, 1) for x in (q_NHRD, k_NHKD, v_NHKD, out_NHRD, lse_NHR))
    # The tile's weights among those of all tiles are its own times this, which the gradient can be multiplied by
    share_NR1 = (kept.lse_NR - lse_NR).exp()[..., None]
    grad_NRD = (grad_NHRD.flatten(0, 1) * share_NR1).to(q_NRD.dtype)
    grad_v_NKD = torch.bmm(kept.own_NRK.mT, grad_NRD)
    mean_NR1 = (grad_NRD.to(lse_NR.dtype) * out_NRD).sum(-1, keepdim=True).to(q_NRD.dtype)
    grad_scores_NRK = torch.bmm(grad_NRD, v_NKD.mT).sub_(mean_NR1).mul_(kept.own_NRK)
    scale, heads = q_NRD.shape[-1] ** -0.5, q_NHRD.shape[:2]
    grad_q_NRD = torch.bmm(grad_scores_NRK, k_NKD) * scale
    grad_k_NKD = torch.bmm(grad_scores_NRK.mT, q_NRD) * scale
    return grad_q_NRD.unflatten(0, heads), grad_k_NKD.unflatten(0, heads), grad_v_NKD.unflatten(0, heads)


@lru_cache(maxsize=64)
def _bias(mask_RK: Tensor, dtype: torch.dtype) -> Tensor:
    """[R, K], added to the scores: nothing where a key is seen."""
    with torch.inference_mode(False):  # it may be seen first while generating, and then be trained with
        return torch.zeros(mask_RK.shape, dtype=dtype).masked_fill_(~mask_RK, -torch.inf)
