"""Architecture of a GPT: widths, heads and variants, and the checks that they fit each other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from helicon.formats.checked import flag, integer, number, one_of
from helicon.gpt.attention.patterns import parse_patterns

# Bounds that a config from elsewhere is checked against before anything is allocated
MAX_LAYERS = 512
MAX_WIDTH = 1 << 16  # also of heads
MAX_RATIO = 64  # of a hidden width over the model's
SWIGLU_MULTIPLE = 64  # hidden widths of swiglu: its 2/3 is rounded up to what matrix units multiply without a remainder
Activation = Literal["gelu", "quick_gelu", "relu2", "swiglu"]
Norm = Literal["layer", "rms"]


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """Architecture of a GPT, apart from its vocabulary and coordinate tables.

    Args:
        layers: transformer layers.
        width: width of the residual stream.
        heads: attention heads of each layer.
        pattern: attention patterns tiled over the layers, such as `dense` or `dense,local:128`.
        mlp: activation of the feed-forward layers.
        norm: `layer` for LayerNorm, `rms` for RMSNorm.
        tied: whether the output matrix is the token embedding.
        bias: whether linear layers and LayerNorm have a bias.
        qk_norm: whether queries and keys pass an RMSNorm per head.
        dropout: at the end of each residual branch only; none within attention, whose fused kernels have none.
        mlp_ratio: hidden width of the feed-forward layers over the model's width.
        qk_ratio: width of queries and keys over the width of values, at most 1.
        attention_ratio: width of the values of all heads over the model's width.

    Raises:
        ValueError: a value is out of its range, or widths and heads do not divide.
    """

    layers: int = 6
    width: int = 256
    heads: int = 4
    pattern: str = "dense"
    mlp: Activation = "gelu"
    norm: Norm = "layer"
    tied: bool = True
    bias: bool = True
    qk_norm: bool = False
    dropout: float = 0.0
    mlp_ratio: float = 4.0
    qk_ratio: float = 1.0
    attention_ratio: float = 1.0

    def __post_init__(self) -> None:
        integer("layers", self.layers, 1, MAX_LAYERS)
        integer("width", self.width, 1, MAX_WIDTH)
        integer("heads", self.heads, 1, MAX_WIDTH)
        one_of("mlp", self.mlp, get_args(Activation))
        one_of("norm", self.norm, get_args(Norm))
        for name in ("tied", "bias", "qk_norm"):
            flag(name, getattr(self, name))
        number("dropout", self.dropout, 0, 1)
        for name in ("mlp_ratio", "qk_ratio", "attention_ratio"):
            number(name, getattr(self, name), 0, MAX_RATIO)
        if self.attention_ratio == 1 and self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if not self.attention_ratio > 0 or not (self.attention_ratio * self.width / self.heads).is_integer():
            raise ValueError(
                f"attention_ratio {self.attention_ratio:g}: a multiple of the width {self.width}, above 0, that the "
                f"heads, {self.heads} here, divide is accepted"
            )
        if not 0 < self.qk_ratio <= 1 or not (self.qk_ratio * self.head_width).is_integer():
            raise ValueError(
                f"qk_ratio {self.qk_ratio:g}: a share of the head width {self.head_width} that is whole, "
                "above 0 and up to 1, is accepted"
            )
        if not 1 <= self.mlp_ratio * self.width < math.inf:
            raise ValueError(
                f"mlp_ratio {self.mlp_ratio:g}: a number that makes a hidden width of 1 or more is accepted"
            )
        parse_patterns(self.pattern, self.layers)

    @property
    def mlp_width(self) -> int:
        """Hidden width of the feed-forward layers in features, an int: mlp_ratio x width.

        For swiglu, which has three matrices instead of two, 2/3 of that (arXiv:2002.05202, section 3), rounded up to a
        multiple of SWIGLU_MULTIPLE.
        """
        width = round(self.mlp_ratio * self.width)
        return -(-2 * width // 3 // SWIGLU_MULTIPLE) * SWIGLU_MULTIPLE if self.mlp == "swiglu" else width

    @property
    def head_width(self) -> int:
        """Features of the values of one head, and of a head of the KV cache, keys included."""
        return int(self.attention_ratio * self.width / self.heads)

    @property
    def value_width(self) -> int:
        """Features of the values of all heads together."""
        return self.heads * self.head_width

    @property
    def qk_width(self) -> int:
        """Features of the queries of all heads together, and of the keys."""
        return int(self.qk_ratio * self.head_width) * self.heads
