"""The ways to run a pattern over a whole sequence, each of them what the masked oracle gives.

Shapes: B batch, H heads, T tokens, D features; N = batch x groups of a fold, R its query rows, K its keys.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from helicon.gpt import flex
from helicon.gpt.folded import attend_folds, flash_folds, flat, spread
from helicon.gpt.folds import Fold, apart, sequence_folds
from helicon.gpt.kernels import MOST_GROUPS, fits_cuda_kernels
from helicon.gpt.masks import attend_masked
from helicon.gpt.pattern_base import AttentionPattern

Attend = Callable[[Tensor, Tensor, Tensor, AttentionPattern, int], Tensor]  # q, k, v, pattern, prefix -> [B, H, T, D]
Takes = Callable[[Tensor, AttentionPattern, int], bool]  # q, pattern, prefix


class Way(NamedTuple):
    """How to attend, and whether CUDA can do it so for these queries."""

    attend: Attend
    takes: Takes


class Folding(NamedTuple):
    """The folds of a sequence. apart: whether no query is in two of them and none has a mask."""

    folds: tuple[Fold, ...]
    apart: bool


@lru_cache(maxsize=64)
def folding(pattern: AttentionPattern, prefix: int, length: int) -> Folding:
    """The folds of a pattern whose index 0 is position `prefix`, kept: so their masks are on the device but once."""
    with torch.inference_mode(False):
        folds = sequence_folds(pattern.folds(length - prefix), length, prefix)
        return Folding(folds, all(fold.mask_RK is None for fold in folds) and apart(folds, length))


def _merged(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> Tensor:
    """Fold by fold through fused kernels, merged."""
    return flash_folds(q_BHTD, k_BHTD, v_BHTD, folding(pattern, prefix, q_BHTD.shape[2]).folds)


def _products(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> Tensor:
    """Fold by fold through matrix products, which keep the scores of what is seen."""
    return attend_folds(q_BHTD, k_BHTD, v_BHTD, folding(pattern, prefix, q_BHTD.shape[2]).folds)


def _apart(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> Tensor:
    """Fold by fold through PyTorch's fused attention, where there is nothing to merge."""
    folds, out_BHTD = folding(pattern, prefix, q_BHTD.shape[2]).folds, torch.zeros_like(q_BHTD)
    for fold in folds:
        q_NHRD, k_NHKD, v_NHKD = flat(fold.queries, q_BHTD), flat(fold.keys, k_BHTD), flat(fold.keys, v_BHTD)
        out_NHRD = F.scaled_dot_product_attention(q_NHRD, k_NHKD, v_NHKD, is_causal=fold.causal)
        out_BHTD = spread(fold.queries, out_NHRD, out_BHTD)
    return out_BHTD if folds else (q_BHTD + k_BHTD + v_BHTD) * 0  # still a function of all three, for autograd


def _flex(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> Tensor:
    return flex.attend_flex(q_BHTD, k_BHTD, v_BHTD, pattern, prefix)


def _takes_merged(q_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> bool:
    return fits_cuda_kernels(q_BHTD, folding(pattern, prefix, q_BHTD.shape[2]).folds)


def _takes_apart(q_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> bool:
    found = folding(pattern, prefix, q_BHTD.shape[2])
    groups = max((fold.queries.groups for fold in found.folds), default=0)
    return found.apart and len(q_BHTD) * groups <= MOST_GROUPS


def _takes_flex(q_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> bool:
    return flex.takes(q_BHTD)


def _takes_all(q_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> bool:
    return True


WAYS = {
    "apart": Way(_apart, _takes_apart),
    "merged": Way(_merged, _takes_merged),
    "flex": Way(_flex, _takes_flex),
    "masked": Way(attend_masked, _takes_all),
    "products": Way(_products, _takes_all),
}
