"""A pattern by FlexAttention: a block mask made of its predicate, kernels that skip blocks in which nothing is seen.

CUDA only for training: there is no backward on a CPU, and what is not compiled keeps all scores.

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

BLOCK = 128  # tokens of a side of the mask's blocks
NARROWEST, WIDEST = 16, 128  # head widths that its kernels take
SHAPES = 256  # patterns and lengths that it may be compiled for; PyTorch would stop at 8


def supports(q_BHTD: Tensor) -> bool:
    """Whether its kernels take these queries, and are worth compiling for them: in training only."""
    return q_BHTD.requires_grad and q_BHTD.dtype != torch.float64 and NARROWEST <= q_BHTD.shape[-1] <= WIDEST


def attend_flex(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, pattern: AttentionPattern, prefix: int) -> Tensor:
    """Attention under a pattern; a query that may see no key gives 0.

    Lengths are filled up to whole blocks, whose tokens no earlier query sees: so few lengths have to be compiled.
    """
    length = q_BHTD.shape[2]
    filler = -length % BLOCK
    q, k, v = (F.pad(x, (0, 0, 0, filler)) if filler else x for x in (q_BHTD, k_BHTD, v_BHTD))
    mask = block_mask(pattern, prefix, length + filler, q.device)
    if q.device.type == "cpu":
        return flex_attention(q, k, v, block_mask=mask)[:, :, :length]  # type: ignore[index]  (a tensor, unless asked)
    with torch._dynamo.config.patch(recompile_limit=SHAPES):
        return _compiled()(q, k, v, block_mask=mask)[:, :, :length]


@lru_cache(maxsize=SHAPES)
def block_mask(pattern: AttentionPattern, prefix: int, length: int, device: torch.device) -> BlockMask:
    """Which blocks have something to see, made once; compiled on CUDA, or all T x T pairs would be in memory."""

    def seen(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return sequence_mask(pattern, prefix, query, key)

    on_cuda = device.type == "cuda"
    limit = torch._dynamo.config.patch(recompile_limit=SHAPES) if on_cuda else contextlib.nullcontext()
    with torch.inference_mode(False), limit:
        create = torch.compile(create_block_mask) if on_cuda else create_block_mask
        return create(seen, None, None, length, length, device=device, BLOCK_SIZE=BLOCK)


@cache
def _compiled() -> Callable[..., Tensor]:
    return torch.compile(flex_attention, dynamic=False, fullgraph=True)
