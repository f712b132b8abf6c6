"""Causal attention under a pattern: the masked oracle, whole sequences (training, prefill), and one token (decoding).

A sequence starts with `frame.prefix` tokens, which attend to each other causally and are attended to by all later
tokens. Then comes the target slot, perhaps a grid with rows of `frame.row` tokens, where the pattern applies: its index
0 is position `frame.prefix`. A query that may attend to no key gives 0.

Shapes: B batch, H heads, T tokens, D features, K keys gathered per query.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from helicon.gpt.attention import blocked
from helicon.gpt.attention.backends import BACKENDS
from helicon.gpt.attention.masks import sequence_mask
from helicon.gpt.attention.pattern_base import AttentionPattern, PatternSpec
from helicon.gpt.attention.selection import select_backend
from helicon.gpt.attention.stride_patterns import DensePattern
from helicon.gpt.cache import Positions
from helicon.sequence.layout import PatternContext

ONE_SLOT = PatternContext()  # no prefix, no grid


def attend_dense(
    q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, pattern: PatternSpec, frame: PatternContext = ONE_SLOT
) -> Tensor:
    """Attend by all T x T scores, masked by the predicate: the oracle of all backends.

    Args:
        q_BHTD: queries of H heads of width D, float.
        k_BHTD: keys, likewise.
        v_BHTD: values, likewise.
        pattern: `PatternSpec`, the keys that a query may see.
        frame: `PatternContext`, the prefix length and grid width of the layout.

    Returns:
        Attended values [B, H, T, D].
    """
    index_T = torch.arange(q_BHTD.shape[2], device=q_BHTD.device)
    allowed_TT = sequence_mask(pattern.resolve(frame.row), frame.prefix, index_T[:, None], index_T)
    scores_BHTT = q_BHTD @ k_BHTD.mT * q_BHTD.shape[-1] ** -0.5
    return _softmax(scores_BHTT, allowed_TT) @ v_BHTD


def attend(
    q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, pattern: PatternSpec, frame: PatternContext = ONE_SLOT
) -> Tensor:
    """Attend like `attend_dense`, by the fastest backend. With tiles, time grows with the allowed pairs, not T x T.

    Args:
        q_BHTD: queries of H heads of width D, float.
        k_BHTD: keys, likewise.
        v_BHTD: values, likewise.
        pattern: `PatternSpec`, the keys that a query may see.
        frame: `PatternContext`, the prefix length and grid width of the layout.

    Returns:
        Attended values [B, H, T, D], in autocast's dtype where autocast is on.
    """
    resolved, device, length = pattern.resolve(frame.row), q_BHTD.device.type, q_BHTD.shape[2]
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        q_BHTD, k_BHTD, v_BHTD = q_BHTD.to(dtype), k_BHTD.to(dtype), v_BHTD.to(dtype)
    if isinstance(resolved, DensePattern) or length <= frame.prefix:
        if blocked.supports(q_BHTD):
            return blocked.attend_blocks(q_BHTD, k_BHTD, v_BHTD)
        return F.scaled_dot_product_attention(q_BHTD, k_BHTD, v_BHTD, is_causal=True)
    backend = BACKENDS[select_backend(resolved, frame.prefix, q_BHTD)]
    return backend.attend(q_BHTD, k_BHTD, v_BHTD, resolved, frame.prefix)


def attend_cached(
    q_BHD: Tensor,
    k_cache_BHTD: Tensor,
    v_cache_BHTD: Tensor,
    positions: Positions,
    pattern: PatternSpec,
    frame: PatternContext = ONE_SLOT,
) -> Tensor:
    """Attend from one new token per row to the KV cache. A sparse pattern reads only the prefix and its key list.

    Args:
        q_BHD: queries of the new tokens, one per row, of H heads of width D.
        k_cache_BHTD: cached keys, contiguous, of the T tokens that fit; the new tokens' keys are written already. Heads
            may be padded with zeros.
        v_cache_BHTD: cached values, likewise.
        positions: `Positions` of the new tokens.
        pattern: `PatternSpec`, the keys that a query may see.
        frame: `PatternContext`, the prefix length and grid width of the layout.

    Returns:
        Attended values [B, H, D].
    """
    resolved, (position_B, kv_length, aligned) = pattern.resolve(frame.row), positions
    if isinstance(resolved, DensePattern):
        valid_BK = None if aligned else torch.arange(kv_length, device=position_B.device) <= position_B[:, None]
        return _attend_rows(q_BHD, k_cache_BHTD[:, :, :kv_length], v_cache_BHTD[:, :, :kv_length], valid_BK)
    index_BK, valid_BK = _cached_keys(position_B, resolved, frame.prefix, kv_length)
    return _attend_rows(q_BHD, _gather(k_cache_BHTD, index_BK), _gather(v_cache_BHTD, index_BK), valid_BK)


def _cached_keys(position_B: Tensor, pattern: AttentionPattern, prefix: int, kv_length: int) -> tuple[Tensor, Tensor]:
    """List the positions [B, K] of each row's keys, 0 where invalid, and a bool mask [B, K] of the valid ones."""
    prefix_BK = torch.arange(min(prefix, kv_length), device=position_B.device).expand(len(position_B), -1)
    prefix_valid_BK = prefix_BK <= position_B[:, None]
    if kv_length <= prefix:
        return prefix_BK, prefix_valid_BK
    query_B = position_B - prefix
    index_BK, valid_BK = pattern.keys(query_B.clamp(min=0), kv_length - prefix)
    valid_BK = valid_BK & (query_B >= 0)[:, None]  # rows still inside the prefix
    index_BK = torch.where(valid_BK, index_BK + prefix, 0)
    return torch.cat([prefix_BK, index_BK], 1), torch.cat([prefix_valid_BK, valid_BK], 1)


def _gather(cache_BHTD: Tensor, index_BK: Tensor) -> Tensor:
    """Gather [B, H, K, D] as rows of one table, which is many times faster on a CPU than `Tensor.gather`."""
    B, H, T, D = cache_BHTD.shape
    first_BH1 = torch.arange(B * H, device=index_BK.device).view(B, H, 1) * T
    return F.embedding(first_BH1 + index_BK[:, None], cache_BHTD.view(-1, D))


def _attend_rows(q_BHD: Tensor, k_BHKD: Tensor, v_BHKD: Tensor, valid_BK: Tensor | None) -> Tensor:
    """Attend from one query per row, in the dtype of the cache, whose heads may be padded with zeros.

    By matrix products: on a CPU, PyTorch's fused kernel takes two to six times as long for one query.
    """
    width = q_BHD.shape[-1]
    q_BHD = F.pad(q_BHD, (0, k_BHKD.shape[-1] - width)) if width < k_BHKD.shape[-1] else q_BHD
    wide_BH1D = (q_BHD * width**-0.5).to(k_BHKD.dtype)[:, :, None]
    scores_BH1K = wide_BH1D @ k_BHKD.mT
    weights_BH1K = _softmax(scores_BH1K, None if valid_BK is None else valid_BK[:, None, None])
    return (weights_BH1K @ v_BHKD).squeeze(2)[..., :width].to(q_BHD.dtype)


def _softmax(scores: Tensor, allowed: Tensor | None = None) -> Tensor:
    """Compute the softmax over allowed keys, in float32 at least; 0 everywhere in a row without allowed keys."""
    dtype = torch.promote_types(scores.dtype, torch.float32)
    if allowed is None:
        return scores.softmax(-1, dtype=dtype).to(scores.dtype)
    weights = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min).softmax(-1, dtype=dtype)
    return weights.masked_fill(~allowed, 0).to(scores.dtype)
