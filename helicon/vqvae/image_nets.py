"""Convolutional encoder and decoder of pictures.

Shapes: B pictures, C channels, H x W pixels, h x w positions of the latent grid, which is f times smaller each way.
"""

from __future__ import annotations

from itertools import pairwise
from math import gcd, log2
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor, nn

from helicon.vqvae.nets import NETS, Nets, NetSizes

if TYPE_CHECKING:
    from helicon.vqvae.config import ImageCodecConfig

IMAGE_NETS = NETS["image"]


def group_norm(width: int) -> nn.GroupNorm:
    """Make a group norm of so many channels, in 8 groups, or fewer where 8 do not divide them."""
    return nn.GroupNorm(gcd(8, width), width)


class ImageResBlock(nn.Module):
    """Residual block x + conv(silu(norm(conv(silu(norm x))))); it starts as the identity.

    Group norms, not batch norms: a picture's codes must not depend on the other pictures of its batch.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_1, self.conv_1 = group_norm(width), nn.Conv2d(width, width, 3, padding=1)
        self.norm_2, self.conv_2 = group_norm(width), nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv_2.weight)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        inner = self.conv_1(F.silu(self.norm_1(x_BCHW)))
        return x_BCHW + self.conv_2(F.silu(self.norm_2(inner)))


def widths(width: int, factor: int) -> list[int]:
    """Return the channels of each down-sampling stage.

    Args:
        width: channels at the latent grid.
        factor: down-sampling factor of the grid, a power of 2.

    Returns:
        Ints, the channels at factors 2, 4 ... `factor`: doubling up to `width`, and never below a quarter of it.
    """
    stages = int(log2(factor))
    return [max(width // 4, width >> (stages - 1 - i)) for i in range(stages)]


class ImageEncoder(nn.Sequential):
    """Encoder [B, 3, H, W] -> [B, outputs, h, w].

    The first step folds 2 x 2 pixels into channels: layers at full resolution cost much and improve little.
    """

    def __init__(self, factor: int, width: int, blocks: int, outputs: int) -> None:
        channels = widths(width, factor)
        parts: list[nn.Module] = [nn.PixelUnshuffle(2), nn.Conv2d(12, channels[0], 3, padding=1)]
        for narrow, wide in pairwise(channels):
            parts += [ImageResBlock(narrow), nn.Conv2d(narrow, wide, 4, stride=2, padding=1)]
        parts += [ImageResBlock(width) for _ in range(blocks)]
        super().__init__(*parts, group_norm(width), nn.SiLU(), nn.Conv2d(width, outputs, 1))


class ImageDecoder(nn.Sequential):
    """Decoder [B, inputs, h, w] -> [B, outputs, H, W], the encoder's mirror; pixel shuffles in place of strides."""

    def __init__(self, factor: int, width: int, blocks: int, inputs: int, outputs: int) -> None:
        channels = widths(width, factor)[::-1]
        parts: list[nn.Module] = [nn.Conv2d(inputs, width, 3, padding=1)]
        parts += [ImageResBlock(width) for _ in range(blocks)]
        for wide, narrow in pairwise(channels):
            parts += [nn.Conv2d(wide, 4 * narrow, 3, padding=1), nn.PixelShuffle(2), ImageResBlock(narrow)]
        parts += [group_norm(channels[-1]), nn.SiLU()]
        super().__init__(*parts, nn.Conv2d(channels[-1], 4 * outputs, 3, padding=1), nn.PixelShuffle(2))


def conv_nets(config: ImageCodecConfig, sizes: NetSizes) -> Nets:
    """Make Helicon's own networks of pictures, `conv`.

    Args:
        config: `ImageCodecConfig`, of which the width and the number of residual blocks are used.
        sizes: `NetSizes`, the factor and channels that the networks have to fit.

    Returns:
        `Nets`: encoder and decoder.
    """
    shape = (sizes.step, config.width, config.blocks)
    return Nets(ImageEncoder(*shape, sizes.inputs), ImageDecoder(*shape, sizes.outputs, sizes.decoder_channels))


IMAGE_NETS.register("conv", conv_nets)
