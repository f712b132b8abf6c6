"""Convolutional encoder and decoder of sound, after Jukebox (arXiv:2005.00341, section 3 and appendix A.2).

They consist of convolutions alone: an output depends on `receptive_field` positions to either side and on nothing else,
so that long sounds can be processed in chunks.

Sounds are pictures of one row here, [B, C, 1, S]: with channels last in memory, CPUs have much faster kernels for 2-D
convolutions than for 1-D ones.

Shapes: B sounds, C channels, W width, S samples, T positions of the latent grid, one for each `hop` samples.
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
    """Residual block x + conv1(act(conv3(act x))), the wider convolution dilated.

    Deviates from Jukebox: SiLU in place of ReLU, and a last convolution that starts at 0, so that blocks start as the
    identity.
    """

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.conv_1 = conv(width, width, 3, padding=dilation, dilation=dilation)
        self.conv_2 = conv(width, width, 1)
        nn.init.zeros_(self.conv_2.weight)

    def forward(self, x_BW1T: Tensor) -> Tensor:
        return x_BW1T + self.conv_2(F.silu(self.conv_1(F.silu(x_BW1T))))


def conv(inputs: int, outputs: int, size: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> nn.Conv2d:
    """Make a 1-D convolution, as a 2-D one along the row.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        size: kernel size, in positions.
        stride: positions between two outputs.
        padding: zeros at either end.
        dilation: positions between two taps of the kernel.

    Returns:
        A module [B, inputs, 1, T] -> [B, outputs, 1, T'], from T positions to T'.
    """
    return nn.Conv2d(inputs, outputs, (1, size), (1, stride), (0, padding), (1, dilation))


def strides(hop: int, stride: int) -> list[int]:
    """Factorize a hop into the strides of its down-sampling steps.

    Args:
        hop: number of samples a code.
        stride: largest step, taken as long as it divides what is left of the hop.

    Returns:
        Integer strides whose product is the hop, such as [4, 4, 2] for a hop of 32 and a stride of 4.
    """
    steps: list[int] = []
    while hop > 1:
        step = next(s for s in range(min(stride, hop), 1, -1) if hop % s == 0)
        steps.append(step)
        hop //= step
    return steps


def dilations(depth: int, growth: int) -> list[int]:
    """Return the dilation of each residual block after a step.

    Args:
        depth: number of residual blocks.
        growth: dilation of a block as a multiple of the one before.

    Returns:
        [1, growth, growth^2, ...] of length `depth`.
    """
    return [growth**i for i in range(depth)]


class MaskedSequential(nn.Sequential):
    """Sequential of layers for padded batches: padding is masked before each layer."""

    def forward(self, x_BC1T: Tensor, ends: Sequence[int] | None = None) -> Tensor:  # type: ignore[override]
        """Run the layers on a batch, of items of different lengths in inference.

        Before each layer positions beyond an item's end become 0, which is the zero padding that its convolutions see
        at the end of an item that is alone.

        Args:
            x_BC1T: items of one row, padded to T positions; the padding is overwritten when `ends` is set.
            ends: B ints, the length of each item in positions of the input; None when all fill the batch.

        Returns:
            Output of the last layer, [B, channels, 1, positions]. Up to its end each item is as if it were alone.
        """
        length = x_BC1T.shape[-1]
        for layer in self:
            if ends is not None:
                mask_padding_(x_BC1T, [end * x_BC1T.shape[-1] // length for end in ends])
            x_BC1T = layer(x_BC1T)
        return x_BC1T


def mask_padding_(x_BC1T: Tensor, ends: Sequence[int]) -> None:
    """Set the positions of each item from its end on to 0, in place.

    Args:
        x_BC1T: items of one row, padded to T positions.
        ends: B ints, the length of each item in positions.
    """
    shortest = min(ends)
    padding_BC1T = x_BC1T[..., shortest:]
    if padding_BC1T.shape[-1]:
        positions_T = torch.arange(shortest, x_BC1T.shape[-1], device=x_BC1T.device)
        padding_BC1T.masked_fill_(positions_T >= positions_T.new_tensor(ends)[:, None, None, None], 0)


class AudioEncoder(MaskedSequential):
    """Encoder [B, C, 1, S] -> [B, outputs, 1, T], S a multiple of the hop. Dilated blocks follow each step down."""

    def __init__(
        self, channels: int, steps: Sequence[int], width: int, depth: int, growth: int, outputs: int
    ) -> None:  # fmt: skip
        layers: list[nn.Module] = []
        for i, step in enumerate(steps):
            layers.append(conv(width if i else channels, width, 2 * step, stride=step, padding=ceil(step / 2)))
            layers += [AudioResBlock(width, dilation) for dilation in dilations(depth, growth)]
        super().__init__(*layers, nn.SiLU(), conv(width, outputs, 3, padding=1))


class AudioDecoder(MaskedSequential):
    """Decoder [B, inputs, 1, T] -> [B, C, 1, S], the encoder's mirror: dilations fall where the encoder's rise."""

    def __init__(
        self, channels: int, steps: Sequence[int], width: int, depth: int, growth: int, inputs: int
    ) -> None:  # fmt: skip
        layers: list[nn.Module] = [conv(inputs, width, 3, padding=1)]
        for i, step in reversed(list(enumerate(steps))):
            layers += [AudioResBlock(width, dilation) for dilation in reversed(dilations(depth, growth))]
            layers += [nn.SiLU()] if i == 0 else []
            layers.append(PixelShuffle1d(width, width if i else channels, step))
        super().__init__(*layers)


class PixelShuffle1d(nn.Module):
    """Sub-pixel up-sampling [B, inputs, 1, T] -> [B, outputs, 1, T step] (arXiv:1609.05158), in one dimension.

    Deviates from Jukebox's transposed convolutions, whose outputs overlap.
    """

    def __init__(self, inputs: int, outputs: int, step: int) -> None:
        super().__init__()
        self.step = step
        self.conv = conv(inputs, outputs * step, 3, padding=1)

    def forward(self, x_BW1T: Tensor) -> Tensor:
        return rearrange(self.conv(x_BW1T), "b (c step) row t -> b c row (t step)", step=self.step)


def receptive_field(steps: Sequence[int], depth: int, growth: int) -> int:
    """Bound the receptive field of encoder and decoder, to one side.

    Args:
        steps: strides of the encoder's down-sampling steps, from the finest on.
        depth: number of residual blocks after each step.
        growth: dilation of a block as a multiple of the one before.

    Returns:
        Positions of the latent grid to either side that a code, or a decoded sample, can depend on at most.
    """
    blocks = sum(dilations(depth, growth))
    samples, position = 0, 1  # the field so far, and the width of one position at the stage at hand; both in samples
    for step in steps:
        samples += 2 * step * position  # the convolution that changes the rate, in either direction
        position *= step
        samples += (blocks + 2) * position
    return ceil(samples / position) + 2  # 2: the convolutions next to the quantizer


def conv_nets(config: AudioCodecConfig, sizes: NetSizes) -> Nets:
    """Make Helicon's own networks of sound, `conv`.

    Args:
        config: `AudioCodecConfig`, of which stride, width, depth and growth are used.
        sizes: `NetSizes`, the hop and channels that the networks have to fit.

    Returns:
        `Nets`: encoder, decoder and their receptive field in codes.
    """
    steps = strides(sizes.step, config.stride)
    shape = (sizes.channels, steps, config.width, config.depth, config.growth)
    decoder = AudioDecoder(*shape, sizes.outputs)
    return Nets(AudioEncoder(*shape, sizes.inputs), decoder, receptive_field(steps, config.depth, config.growth))


AUDIO_NETS.register("conv", conv_nets)
