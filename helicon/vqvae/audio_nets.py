"""Convolutional encoder and decoder of sound, after Jukebox (arXiv:2005.00341, section 3 and appendix A.2).

Nothing in them but convolutions: what stands at one place depends on `reach` places to either side and on nothing
else, so that long sounds can go through in chunks.

Sounds are pictures of one row here, [B, C, 1, S]: CPUs have much faster kernels for pictures, channels innermost.

Shapes: B sounds, C channels, W width, S samples, T places of the latent grid, one for each `hop` samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from helicon.vqvae.nets import NETS, Nets, NetSizes

if TYPE_CHECKING:
    from helicon.vqvae.config import AudioCodecConfig

AUDIO_NETS = NETS["audio"]


class AudioResBlock(nn.Module):
    """x + conv1(act(conv3(act x))), the wider convolution dilated; it begins as the identity."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.conv_1 = conv(width, width, 3, padding=dilation, dilation=dilation)
        self.conv_2 = conv(width, width, 1)
        nn.init.zeros_(self.conv_2.weight)

    def forward(self, x_BW1T: Tensor) -> Tensor:
        return x_BW1T + self.conv_2(F.silu(self.conv_1(F.silu(x_BW1T))))


def conv(inputs: int, outputs: int, size: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> nn.Conv2d:
    """A convolution along the row."""
    return nn.Conv2d(inputs, outputs, (1, size), (1, stride), (0, padding), (1, dilation))


def strides(hop: int, stride: int) -> list[int]:
    """Steps of `stride`, and a smaller last one where that is what is left, whose product is the hop."""
    steps: list[int] = []
    while hop > 1:
        step = next(s for s in range(min(stride, hop), 1, -1) if hop % s == 0)
        steps.append(step)
        hop //= step
    return steps


def dilations(depth: int, growth: int) -> list[int]:
    """1, g, g^2 ..."""
    return [growth**i for i in range(depth)]


class MaskedSequential(nn.Sequential):
    """Parts one after another, for items of one length, or of several that are padded to the longest."""

    def forward(self, x_BC1T: Tensor, ends: Sequence[int] | None = None) -> Tensor:  # type: ignore[override]
        """ends: places of each item that are its own, for inference. It comes out as if it were alone, up to there.

        What each part is fed beyond the end is made 0, which is what a convolution sees beyond that of a whole row.
        """
        length = x_BC1T.shape[-1]
        for part in self:
            if ends is not None:
                silence(x_BC1T, [end * x_BC1T.shape[-1] // length for end in ends])
            x_BC1T = part(x_BC1T)
        return x_BC1T


def silence(x_BC1T: Tensor, ends: Sequence[int]) -> None:
    """Makes the places of each item from its end on 0, in place."""
    shortest = min(ends)
    rest_BC1T = x_BC1T[..., shortest:]
    if rest_BC1T.shape[-1]:
        places_T = torch.arange(shortest, x_BC1T.shape[-1], device=x_BC1T.device)
        rest_BC1T.masked_fill_(places_T >= places_T.new_tensor(ends)[:, None, None, None], 0)


class AudioEncoder(MaskedSequential):
    """[B, C, 1, S] -> [B, outputs, 1, T]; S a multiple of the hop. Each step down is followed by dilated blocks."""

    def __init__(
        self, channels: int, steps: Sequence[int], width: int, depth: int, growth: int, outputs: int
    ) -> None:  # fmt: skip
        parts: list[nn.Module] = []
        for i, step in enumerate(steps):
            parts.append(conv(width if i else channels, width, 2 * step, stride=step, padding=ceil(step / 2)))
            parts += [AudioResBlock(width, dilation) for dilation in dilations(depth, growth)]
        super().__init__(*parts, nn.SiLU(), conv(width, outputs, 3, padding=1))


class AudioDecoder(MaskedSequential):
    """[B, inputs, 1, T] -> [B, C, 1, S], the encoder's mirror: dilations fall where the encoder's rise."""

    def __init__(
        self, channels: int, steps: Sequence[int], width: int, depth: int, growth: int, inputs: int
    ) -> None:  # fmt: skip
        parts: list[nn.Module] = [conv(inputs, width, 3, padding=1)]
        for i, step in reversed(list(enumerate(steps))):
            parts += [AudioResBlock(width, dilation) for dilation in reversed(dilations(depth, growth))]
            parts += [nn.SiLU()] if i == 0 else []
            parts.append(PixelShuffle1d(width, width if i else channels, step))
        super().__init__(*parts)


class PixelShuffle1d(nn.Module):
    """[B, inputs, 1, T] -> [B, outputs, 1, T step]: a convolution whose channels become samples; no two overlap."""

    def __init__(self, inputs: int, outputs: int, step: int) -> None:
        super().__init__()
        self.step = step
        self.conv = conv(inputs, outputs * step, 3, padding=1)

    def forward(self, x_BW1T: Tensor) -> Tensor:
        return rearrange(self.conv(x_BW1T), "b (c step) row t -> b c row (t step)", step=self.step)


def reach(steps: Sequence[int], depth: int, growth: int) -> int:
    """Places of the latent grid to either side that a place of it, or a sample, can depend on, at most."""
    blocks = sum(dilations(depth, growth))
    finest, place = 0, 1  # in samples, and the samples of one place of the stage at hand
    for step in steps:
        finest += 2 * step * place  # of the convolution that changes the rate, either way
        place *= step
        finest += (blocks + 2) * place
    return ceil(finest / place) + 2


def conv_nets(config: AudioCodecConfig, sizes: NetSizes) -> Nets:
    """Encoder and decoder of that width and depth, and what they reach."""
    steps = strides(sizes.step, config.stride)
    shape = (sizes.channels, steps, config.width, config.depth, config.growth)
    decoder = AudioDecoder(*shape, sizes.outputs)
    return Nets(AudioEncoder(*shape, sizes.inputs), decoder, reach(steps, config.depth, config.growth))


AUDIO_NETS.register("conv", conv_nets)
