"""One layer of the GPT: attention and a feed-forward net, each added to what goes through, pre-norm.

Shapes: B batch, T tokens, N real tokens of all rows, C width, H heads, D head width, W width of queries, keys and
values together.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from helicon.gpt.activations import ACTIVATIONS
from helicon.gpt.attention.attend import attend, attend_cached
from helicon.gpt.attention.pattern_base import PatternSpec
from helicon.gpt.cache import Cache, Positions
from helicon.gpt.config import GPTConfig
from helicon.gpt.dropout import Dropout
from helicon.gpt.linear import Linear
from helicon.gpt.pieces import PaddedPieces
from helicon.gpt.rotary import Angles, rotate
from helicon.sequence.layout import PatternContext


class RMSNorm(nn.RMSNorm):
    """x / rms(x) times a weight, which is rounded to the number format of x: kernels take no two of them."""

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


def make_norm(config: GPTConfig, width: int) -> nn.Module:
    """LayerNorm or RMSNorm, eps 1e-5."""
    return nn.LayerNorm(width, eps=1e-5, bias=config.bias) if config.norm == "layer" else RMSNorm(width, eps=1e-5)


class Attention(nn.Module):
    """Causal self-attention under one pattern.

    Fused kernels and the cache have one head width. Queries and keys that are narrower than values are filled up with
    zeros, which add nothing to a score.
    """

    def __init__(self, config: GPTConfig, pattern: PatternSpec) -> None:
        super().__init__()
        self.heads, self.pattern = config.heads, pattern
        self.widths = (config.qk_width, config.qk_width, config.value_width)
        self.qkv = Linear(config.width, sum(self.widths), bias=config.bias)
        self.out = Linear(config.value_width, config.width, bias=config.bias)
        head = config.qk_width // config.heads
        self.q_norm = RMSNorm(head, eps=1e-5) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(head, eps=1e-5) if config.qk_norm else nn.Identity()

    def _heads(self, qkv_BTW: Tensor, angles: Angles | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [B, H, T, D] as they attend."""
        parts = qkv_BTW.split(self.widths, -1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in parts)
        q, k = self.q_norm(q).to(v.dtype), self.k_norm(k).to(v.dtype)  # while a head's numbers lie together
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        if angles:
            q, k = rotate(q, angles), rotate(k, angles)
        missing = v.shape[-1] - q.shape[-1]
        if missing:
            q = q * (v.shape[-1] / q.shape[-1]) ** 0.5  # kernels divide scores by the root of the filled-up width
            q, k = F.pad(q, (0, missing)), F.pad(k, (0, missing))
        return q, k, v

    def forward(
        self, x: Tensor, angles: Angles | None, frame: PatternContext, cache: Cache | None, layer: int,
        pieces: PaddedPieces | None = None,
    ) -> Tensor:  # fmt: skip
        """[B, T, C], or [N, C] of the real tokens of `pieces`."""
        qkv = self.qkv(x)
        q, k, v = self._heads(pieces.pad(qkv) if pieces else qkv, angles)
        if cache is not None:
            cache.store(layer, k, v)
        mixed_BTW = rearrange(attend(q, k, v, self.pattern, frame), "b h t d -> b t (h d)")
        return self.out(pieces.unpad(mixed_BTW) if pieces else mixed_BTW)

    def step(
        self, x_BC: Tensor, places: Positions, angles: Angles | None, frame: PatternContext, cache: Cache, layer: int
    ) -> Tensor:  # fmt: skip
        """One new token a row against the cache."""
        q, k, v = self._heads(self.qkv(x_BC)[:, None], angles)
        cache.store_at(layer, k[:, :, 0], v[:, :, 0], places)
        k_cache, v_cache = cache.layer(layer)
        out_BHD = attend_cached(q[:, :, 0], k_cache, v_cache, places, self.pattern, frame)
        return self.out(out_BHD.flatten(1))


class MLP(nn.Module):
    """Two linear layers around an activation (swiglu: three, the first two as one)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.mlp]
        self.up = Linear(config.width, config.mlp_width * (2 if config.mlp == "swiglu" else 1), bias=config.bias)
        self.out = Linear(config.mlp_width, config.width, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.activation(self.up(x)))

    def step(self, x_BC: Tensor) -> Tensor:
        """The same of one token a row.

        On a CPU rows are activated one by one: the ends of what a thread gets are rounded otherwise than the rest, and
        would lie elsewhere in another batch.
        """
        up = self.up(x_BC)
        if up.device.type == "cpu" and len(up) > 1:
            return self.out(torch.cat([self.activation(row) for row in up.split(1)]))
        return self.out(self.activation(up))


class Layer(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: GPTConfig, pattern: PatternSpec) -> None:
        super().__init__()
        self.norm_1, self.attention = make_norm(config, config.width), Attention(config, pattern)
        self.norm_2, self.mlp = make_norm(config, config.width), MLP(config)
        self.dropout = Dropout(config.dropout)

    def forward(
        self, x: Tensor, angles: Angles | None, frame: PatternContext, cache: Cache | None = None, layer: int = 0,
        pieces: PaddedPieces | None = None,
    ) -> Tensor:  # fmt: skip
        x = x + self.dropout(self.attention(self.norm_1(x), angles, frame, cache, layer, pieces))
        return x + self.dropout(self.mlp(self.norm_2(x)))

    def step(
        self, x: Tensor, places: Positions, angles: Angles | None, frame: PatternContext, cache: Cache, layer: int
    ) -> Tensor:  # fmt: skip
        x = x + self.attention.step(self.norm_1(x), places, angles, frame, cache, layer)
        return x + self.mlp.step(self.norm_2(x))
