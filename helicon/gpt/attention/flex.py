"""FlexAttention backend: a block mask computed from the pattern's predicate, and kernels that skip empty blocks.

For training on CUDA only: PyTorch has no backward on a CPU, and without compilation all scores are kept.

Shapes: B batch, H heads, T tokens, D features.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import cache, lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from helicon.gpt.attention.masks import sequence_mask
from helicon.gpt.attention.pattern_base import AttentionPattern

BLOCK = 128  # queries, and keys, of a block of the mask: FlexAttention's default
MIN_HEAD_WIDTH, MAX_HEAD_WIDTH = 16, 128  # that the kernels take
MAX_COMPILED = 256  # combinations of pattern and length to compile for; PyTorch stops at 8 by default


def supports(q_BHTD: Tensor) -> bool:
    """Return True if the kernels take queries [B, H, T, D] of H heads of width D, T tokens; False outside training.

    Compilation pays off in training only.
    """
    fits = MIN_HEAD_WIDTH <= q_BHTD.shape[-1] <= MAX_HEAD_WIDTH
    return q_BHTD.requires_grad and q_BHTD.dtype != torch.float64 and fits


def attend_flex(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> Tensor:
    """Attend by FlexAttention; a query that may attend to no key gives 0.

    Sequences are padded to whole blocks, so that few lengths have to be compiled; no real query attends to the padding,
    which comes later.

    Args:
        q_BHTD: queries of H heads of width D, float.
        k_BHTD: keys, likewise.
        v_BHTD: values, likewise.
        pattern: `AttentionPattern` of the target slot.
        prefix: number of positions before the target slot.

    Returns:
        Attended values [B, H, T, D].
    """
    length = q_BHTD.shape[2]
    padding = -length % BLOCK
    q, k, v = (F.pad(x, (0, 0, 0, padding)) if padding else x for x in (q_BHTD, k_BHTD, v_BHTD))
    mask = block_mask(pattern, prefix, length + padding, q.device)
    if q.device.type == "cpu":
        return flex_attention(q, k, v, block_mask=mask)[:, :, :length]  # type: ignore[index]  (a tuple only if asked for)
    with torch._dynamo.config.patch(recompile_limit=MAX_COMPILED):
        return _compiled()(q, k, v, block_mask=mask)[:, :, :length]


@lru_cache(maxsize=MAX_COMPILED)
def block_mask(pattern: AttentionPattern, prefix: int, length: int, device: torch.device) -> BlockMask:
    """Compute the block mask of a pattern. Cached.

    Args:
        pattern: `AttentionPattern` of the target slot.
        prefix: number of positions before the target slot.
        length: tokens of the padded sequence, a multiple of BLOCK.
        device: of the mask.

    Returns:
        A `BlockMask` of FlexAttention. On CUDA its computation is compiled, since otherwise all T x T pairs would be in
        memory.
    """

    def mask_mod(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return sequence_mask(pattern, prefix, query, key)

    on_cuda = device.type == "cuda"
    limit = torch._dynamo.config.patch(recompile_limit=MAX_COMPILED) if on_cuda else contextlib.nullcontext()
    with torch.inference_mode(False), limit:  # a cached mask may first be used in generation, and later in training
        create = torch.compile(create_block_mask) if on_cuda else create_block_mask
        return create(mask_mod, None, None, length, length, device=device, BLOCK_SIZE=BLOCK)


@cache
def _compiled() -> Callable[..., Tensor]:
    return torch.compile(flex_attention, dynamic=False, fullgraph=True)
