"""A pattern as one mask over the whole sequence: what every execution is tested against, and the fused kernel's mask.

Shapes: B batch, H heads, T tokens, D features.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from helicon.gpt.attention.pattern_base import AttentionPattern

# cuDNN's backward can give NaN where there is a mask (pytorch#196678)
_BACKENDS = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def sequence_mask(pattern: AttentionPattern, prefix: int, query: Tensor, key: Tensor) -> Tensor:
    """Whether the query at a position of the sequence may see the key at another: integers that broadcast.

    The prefix is dense and causal and all that follows sees it; the pattern's index 0 is position `prefix`.
    """
    in_prefix = (key < prefix) & (key <= query)
    return in_prefix | ((key >= prefix) & pattern.allowed(query - prefix, key - prefix))


@lru_cache(maxsize=16)
def mask_of(pattern: AttentionPattern, prefix: int, length: int, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """(bool [T, T], bool [T, 1] of the queries that see anything, or None when all do).

    A query that may see nothing has a key here all the same, its own: kernels differ in what they give it.
    """
    with torch.inference_mode(False):  # it may be seen first while generating, and then be trained with
        index_T = torch.arange(length, device=device)
        mask_TT = sequence_mask(pattern, prefix, index_T[:, None], index_T)
        seeing_T1 = mask_TT.any(1, keepdim=True)
        return mask_TT | (~seeing_T1 & (index_T[:, None] == index_T)), None if seeing_T1.all() else seeing_T1


def attend_masked(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> Tensor:
    """By PyTorch's fused attention with the whole mask: no scores are kept, but all of them are computed."""
    mask_TT, seeing_T1 = mask_of(pattern, prefix, q_BHTD.shape[2], q_BHTD.device)
    with sdpa_kernel(_BACKENDS):
        out_BHTD = F.scaled_dot_product_attention(q_BHTD, k_BHTD, v_BHTD, attn_mask=mask_TT)
    return out_BHTD if seeing_T1 is None else out_BHTD * seeing_T1
