"""Transformer layer of the GPT, pre-norm: attention and a feed-forward network, each a residual branch.

Shapes: B batch, T tokens, N real tokens of a padding-free batch, C width, H heads, D head width, W width of queries,
keys and values together.
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
from helicon.gpt.padding import Padding
from helicon.gpt.rotary import Angles, rotate
from helicon.sequence.layout import PatternContext

NORM_EPS = 1e-5  # of LayerNorm and RMSNorm, as in GPT-2


class RMSNorm(nn.RMSNorm):
    """RMSNorm (arXiv:1910.07467) whose weight is cast to the dtype of x: the fused kernel takes one dtype only."""

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


def make_norm(config: GPTConfig, width: int) -> nn.Module:
    """Make the norm of a config.

    Args:
        config: `GPTConfig`, of which `norm` and `bias` are used.
        width: number of features to normalise over, the last axis.

    Returns:
        An `nn.LayerNorm` or an `RMSNorm`.
    """
    if config.norm == "layer":
        return nn.LayerNorm(width, eps=NORM_EPS, bias=config.bias)
    return RMSNorm(width, eps=NORM_EPS)


class Attention(nn.Module):
    """Causal self-attention under one pattern.

    Fused kernels and the KV cache have one head width. Queries and keys that are narrower than values are padded with
    zeros, which add nothing to a score.

    Args:
        config: widths and variants.
        pattern: keys that a query may see.
    """

    def __init__(self, config: GPTConfig, pattern: PatternSpec) -> None:
        super().__init__()
        self.heads, self.pattern = config.heads, pattern
        self.widths = (config.qk_width, config.qk_width, config.value_width)
        self.qkv = Linear(config.width, sum(self.widths), bias=config.bias)
        self.out = Linear(config.value_width, config.width, bias=config.bias)
        head = config.qk_width // config.heads
        self.q_norm = RMSNorm(head, eps=NORM_EPS) if config.qk_norm else nn.Identity()
        self.k_norm = RMSNorm(head, eps=NORM_EPS) if config.qk_norm else nn.Identity()

    def _heads(self, qkv_BTW: Tensor, angles: Angles | None) -> tuple[Tensor, Tensor, Tensor]:
        """Split into queries, keys and values [B, H, T, D]; normalise, rotate and pad them as configured."""
        parts = qkv_BTW.split(self.widths, -1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in parts)
        q, k = (
            self.q_norm(q).to(v.dtype),
            self.k_norm(k).to(v.dtype),
        )  # before the transpose, while a head is contiguous
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        if angles:
            q, k = rotate(q, angles), rotate(k, angles)
        missing = v.shape[-1] - q.shape[-1]
        if missing:
            q = q * (v.shape[-1] / q.shape[-1]) ** 0.5  # kernels divide scores by the root of the padded width
            q, k = F.pad(q, (0, missing)), F.pad(k, (0, missing))
        return q, k, v

    def forward(
        self, x: Tensor, angles: Angles | None, frame: PatternContext, cache: Cache | None, layer: int,
        padding: Padding | None = None,
    ) -> Tensor:  # fmt: skip
        """Attend within sequences.

        Args:
            x: normalised hidden states [B, T, C] of width C, or [N, C] of the N real tokens of `padding`.
            angles: rotary `Angles` of positions 0 .. T-1; None without rotary embedding.
            frame: `PatternContext`, the prefix length and grid width of the layout.
            cache: KV `Cache` to fill (prefill); None for none.
            layer: index of this layer in the cache.
            padding: `Padding` of the batch; None when it is full.

        Returns:
            Output of the branch, of the shape of x.
        """
        qkv = self.qkv(x)
        q, k, v = self._heads(padding.pad(qkv) if padding else qkv, angles)
        if cache is not None:
            cache.store(layer, k, v)
        mixed_BTW = rearrange(attend(q, k, v, self.pattern, frame), "b h t d -> b t (h d)")
        return self.out(padding.unpad(mixed_BTW) if padding else mixed_BTW)

    def step(
        self, x_BC: Tensor, positions: Positions, angles: Angles | None, frame: PatternContext, cache: Cache, layer: int
    ) -> Tensor:  # fmt: skip
        """Attend from one new token per row to the cache, and write its key and value there.

        Args:
            x_BC: normalised hidden states of the new tokens, of width C.
            positions: their `Positions`.
            angles: rotary `Angles` of the positions; None without rotary embedding.
            frame: `PatternContext`, the prefix length and grid width of the layout.
            cache: KV `Cache` of all layers.
            layer: index of this layer in the cache.

        Returns:
            Output of the branch [B, C].
        """
        q, k, v = self._heads(self.qkv(x_BC)[:, None], angles)
        cache.store_at(layer, k[:, :, 0], v[:, :, 0], positions)
        k_cache, v_cache = cache.layer(layer)
        out_BHD = attend_cached(q[:, :, 0], k_cache, v_cache, positions, self.pattern, frame)
        return self.out(out_BHD.flatten(1))


class MLP(nn.Module):
    """Feed-forward network: two linear layers around an activation. For swiglu, `up` holds the gate and the value."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.activation = ACTIVATIONS[config.mlp]
        self.up = Linear(config.width, config.mlp_width * (2 if config.mlp == "swiglu" else 1), bias=config.bias)
        self.out = Linear(config.mlp_width, config.width, bias=config.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.activation(self.up(x)))

    def step(self, x_BC: Tensor) -> Tensor:
        """Transform normalised hidden states [B, C], one token per row, to [B, C]; no row depends on the others.

        On a CPU rows are activated one by one: vectorised loops round the remainder at the end of a thread's share in
        another way, and that remainder would lie elsewhere in another batch.
        """
        up = self.up(x_BC)
        if up.device.type == "cpu" and len(up) > 1:
            return self.out(torch.cat([self.activation(row) for row in up.split(1)]))
        return self.out(self.activation(up))


class Layer(nn.Module):
    """Pre-norm transformer layer: x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: GPTConfig, pattern: PatternSpec) -> None:
        super().__init__()
        self.norm_1, self.attention = make_norm(config, config.width), Attention(config, pattern)
        self.norm_2, self.mlp = make_norm(config, config.width), MLP(config)
        self.dropout = Dropout(config.dropout)

    def forward(
        self, x: Tensor, angles: Angles | None, frame: PatternContext, cache: Cache | None = None, layer: int = 0,
        padding: Padding | None = None,
    ) -> Tensor:  # fmt: skip
        x = x + self.dropout(self.attention(self.norm_1(x), angles, frame, cache, layer, padding))
        return x + self.dropout(self.mlp(self.norm_2(x)))

    def step(
        self, x: Tensor, positions: Positions, angles: Angles | None, frame: PatternContext, cache: Cache, layer: int
    ) -> Tensor:  # fmt: skip
        x = x + self.attention.step(self.norm_1(x), positions, angles, frame, cache, layer)
        return x + self.mlp.step(self.norm_2(x))
