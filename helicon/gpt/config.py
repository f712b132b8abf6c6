"""What a GPT is made of: the widths of its parts, and which of them go together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from helicon.formats.checked import flag, number, one_of, whole
from helicon.gpt.attention.patterns import parse_patterns

MOST_LAYERS, MOST_WIDTH, MOST_RATIO = 512, 1 << 16, 64
Activation = Literal["gelu", "quick_gelu", "relu2", "swiglu"]
Norm = Literal["layer", "rms"]


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """What a GPT is made of, apart from its vocabulary and coordinate tables.

    pattern: attention patterns tiled over the layers, such as `dense` or `dense,local:128`.
    dropout: at the end of each residual branch only, where it keeps the fused attention kernels.
    mlp_ratio: hidden width of the feed-forward layers over the model's. attention_ratio: the same of queries, keys and
    values, of all heads together. qk_ratio: width of queries and keys over that of values, at most 1.
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
        whole("layers", self.layers, 1, MOST_LAYERS)
        whole("width", self.width, 1, MOST_WIDTH)
        whole("heads", self.heads, 1, MOST_WIDTH)
        one_of("mlp", self.mlp, get_args(Activation))
        one_of("norm", self.norm, get_args(Norm))
        for name in ("tied", "bias", "qk_norm"):
            flag(name, getattr(self, name))
        number("dropout", self.dropout, 0, 1)
        for name in ("mlp_ratio", "qk_ratio", "attention_ratio"):
            number(name, getattr(self, name), 0, MOST_RATIO)
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
        """Hidden width: mlp_ratio C; for swiglu, whose two halves cost as much, 2/3 of that rounded up to 64."""
        width = round(self.mlp_ratio * self.width)
        return -(-2 * width // 3 // 64) * 64 if self.mlp == "swiglu" else width

    @property
    def head_width(self) -> int:
        """Width of the values of one head; what the cache holds of keys too."""
        return int(self.attention_ratio * self.width / self.heads)

    @property
    def value_width(self) -> int:
        """Width of the values of all heads."""
        return self.heads * self.head_width

    @property
    def qk_width(self) -> int:
        """Width of the queries, and of the keys, of all heads."""
        return int(self.qk_ratio * self.head_width) * self.heads
