"""Codec configs: the fields of a quantizer, shared by the configs of image and audio codecs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Literal, get_args

from helicon.formats.audio import MAX_CHANNELS, MAX_RATE
from helicon.formats.checked import integer, integers, one_of, text
from helicon.vqvae.audio_nets import AUDIO_NETS
from helicon.vqvae.image_nets import IMAGE_NETS
from helicon.vqvae.quantizers import QUANTIZERS

# Bounds on configs of stored codecs, which may come from elsewhere: far beyond any use, low enough for memory and time
MAX_FACTOR, MAX_WIDTH, MAX_BLOCKS, MAX_CODES, MAX_LEVELS = 1 << 10, 1 << 14, 256, 1 << 18, 16
MAX_HOPS, MAX_HOP, MAX_DEPTH, MAX_GROWTH = 8, 1 << 14, 64, 64  # levels, samples a code, blocks, of dilations
Likelihood = Literal["l2", "l1", "logit-laplace"]


@dataclass(frozen=True, kw_only=True)
class QuantizerConfig:
    """Quantizer fields shared by image and audio codec configs.

    Args:
        quantizer: `ema` (VQ-VAE), `gumbel` (DALL·E's dVAE), `fsq` (finite scalar quantization) or that of a plugin.
        codes: size of the codebook, of each level's where there are several; fsq has as many as its levels make.
        code_width: channels of a code.
        levels: values of each channel of fsq.
    """

    quantizer: str = "ema"
    codes: int = 512
    code_width: int = 16
    levels: tuple[int, ...] = (8, 8, 8)

    def __post_init__(self) -> None:
        QUANTIZERS.get(text("quantizer", self.quantizer))
        integer("codes", self.codes, 2, MAX_CODES)
        integer("code_width", self.code_width, 1, MAX_WIDTH)
        if prod(integers("levels", self.levels, MAX_LEVELS, 2, MAX_CODES)) > MAX_CODES or not self.levels:
            product = f"numbers whose product is at most {MAX_CODES:,} are accepted"
            raise ValueError(f"levels {list(self.levels)}: {product}")


@dataclass(frozen=True, kw_only=True)
class QuantizerLearning:
    """Training options of a quantizer; a trained codec does not depend on them.

    Trainings pass their own values, whose defaults are in training/settings/config.py.

    Args:
        decay: of the moving averages of ema.
        commitment: weight of ema's pull on the encoder.
        kl: weight of gumbel's divergence from equally used codes.
        rare: share of the mean use of ema's codes below which one is moved.
    """

    decay: float = 0.99
    commitment: float = 0.25
    kl: float = 1e-3
    rare: float = 0.1


@dataclass(frozen=True, kw_only=True)
class ImageCodecConfig(QuantizerConfig):
    """Config of an image codec.

    Args:
        factor: how many times smaller the code grid is, each way: 4, 8, 16.
        width: channels at the code grid, a multiple of 8.
        blocks: residual blocks at the code grid, on either side.
        likelihood: `l2`, `l1` or DALL·E's `logit-laplace`.
        net: encoder and decoder, `conv` or those of a plugin.
    """

    factor: int = 4
    width: int = 128
    blocks: int = 2
    likelihood: Likelihood = "l2"
    net: str = "conv"

    def __post_init__(self) -> None:
        IMAGE_NETS.get(text("net", self.net))
        integer("factor", self.factor, 2, MAX_FACTOR)
        integer("width", self.width, 1, MAX_WIDTH)
        integer("blocks", self.blocks, 0, MAX_BLOCKS)
        super().__post_init__()
        if self.factor & (self.factor - 1):
            raise ValueError(f"factor must be 2, 4, 8 or a higher power of 2, got {self.factor}")
        if self.width % 8:
            raise ValueError(f"width must be a multiple of 8, got {self.width}")
        one_of("likelihood", self.likelihood, get_args(Likelihood))


@dataclass(frozen=True, kw_only=True)
class AudioNetConfig(QuantizerConfig):
    """Config of an audio codec's networks, without the hops, rate and channels of its sounds.

    Args:
        stride: how many times slower each step down is, at most; Jukebox has 2.
        width: channels of the network.
        depth: dilated residual blocks after each step down.
        growth: each block's dilation as a multiple of the one before.
        net: encoder and decoder, `conv` or those of a plugin.
    """

    stride: int = 4
    width: int = 128
    depth: int = 4
    growth: int = 3
    net: str = "conv"

    def __post_init__(self) -> None:
        AUDIO_NETS.get(text("net", self.net))
        integer("stride", self.stride, 2, MAX_HOP)
        integer("width", self.width, 1, MAX_WIDTH)
        integer("depth", self.depth, 0, MAX_DEPTH)
        integer("growth", self.growth, 1, MAX_GROWTH)
        if self.growth**self.depth > MAX_HOP:
            dilations = f"dilations of at most {MAX_HOP:,} are accepted"
            raise ValueError(f"growth {self.growth}, depth {self.depth}: {dilations}")
        super().__post_init__()


@dataclass(frozen=True, kw_only=True)
class AudioCodecConfig(AudioNetConfig):
    """Config of an audio codec: one VQ-VAE for each level, level 0 the finest.

    Args:
        hops: samples a code of each level, finest first, each a multiple of the one before.
        rate: samples a second.
        channels: 1 for mono, 2 for stereo.
    """

    hops: tuple[int, ...] = (16,)
    rate: int = 8000
    channels: int = 1

    def __post_init__(self) -> None:
        if not integers("hops", self.hops, MAX_HOPS, 2, MAX_HOP):
            raise ValueError("hops: one or more are needed")
        integer("rate", self.rate, 1, MAX_RATE)
        integer("channels", self.channels, 1, MAX_CHANNELS)
        super().__post_init__()
        if any(not fine < coarse or coarse % fine for fine, coarse in pairwise(self.hops)):
            raise ValueError(f"hops must rise, each a multiple of the one before, got {list(self.hops)}")
        for hop in self.hops:
            if not _smooth(hop):
                raise ValueError(f"a hop must be a product of 2, 3 and 5 above 1, got {hop}")


def _smooth(number: int) -> bool:
    """True for products of 2, 3 and 5: hops that `strides` splits into small steps."""
    for prime in (2, 3, 5):
        while number % prime == 0:
            number //= prime
    return number == 1
