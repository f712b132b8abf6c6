"""Masks of a pattern over the whole sequence, and the `masked` backend, fused attention with such a mask.

Shapes: B batch, H heads, T tokens, D features.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from helicon.gpt.attention.pattern_base import AttentionPattern

# Without cuDNN, whose backward can give NaN with a mask (pytorch#196678)
_BACKENDS = [SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def sequence_mask(pattern: AttentionPattern, prefix: int, query: Tensor, key: Tensor) -> Tensor:
    """Evaluate a pattern's predicate on positions of a sequence.

    The prefix is causal in itself and visible to all later tokens; the pattern's index 0 is position `prefix`.

    Args:
        pattern: `AttentionPattern` of the target slot.
        prefix: number of positions before the target slot.
        query: integer positions that broadcast with `key`.
        key: integer positions.

    Returns:
        A boolean tensor of the broadcast shape: True where the query may attend to the key.
    """
    in_prefix = (key < prefix) & (key <= query)
    return in_prefix | ((key >= prefix) & pattern.allowed(query - prefix, key - prefix))


@lru_cache(maxsize=16)
def full_mask(
    pattern: AttentionPattern, prefix: int, length: int, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """Compute the mask of a sequence. Cached.

    Args:
        pattern: `AttentionPattern` of the target slot.
        prefix: number of positions before the target slot.
        length: tokens T of the sequence.
        device: of the mask.

    Returns:
        A mask, bool [T, T] of queries x keys, True where a query attends, and the queries that may attend to any key,
        bool [T, 1], or None when all may. In the mask the other queries attend to themselves: kernels differ in their
        output for empty rows.
    """
    with torch.inference_mode(False):  # a cached mask may first be used in generation, and later in training
        index_T = torch.arange(length, device=device)
        mask_TT = sequence_mask(pattern, prefix, index_T[:, None], index_T)
        nonempty_T1 = mask_TT.any(1, keepdim=True)
        return mask_TT | (~nonempty_T1 & (index_T[:, None] == index_T)), None if nonempty_T1.all() else nonempty_T1


def attend_masked(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> Tensor:
    """Attend by PyTorch's fused attention with the whole mask: all scores are computed, but none are kept.

    Args:
        q_BHTD: queries of H heads of width D, float.
        k_BHTD: keys, likewise.
        v_BHTD: values, likewise.
        pattern: `AttentionPattern` of the target slot.
        prefix: number of positions before the target slot.

    Returns:
        Attended values [B, H, T, D].
    """
    mask_TT, nonempty_T1 = full_mask(pattern, prefix, q_BHTD.shape[2], q_BHTD.device)
    with sdpa_kernel(_BACKENDS):
        out_BHTD = F.scaled_dot_product_attention(q_BHTD, k_BHTD, v_BHTD, attn_mask=mask_TT)
    return out_BHTD if nonempty_T1 is None else out_BHTD * nonempty_T1
