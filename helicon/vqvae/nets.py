"""Registry of encoders and decoders of codecs: Helicon's own, `conv`, and those of plugins.

Shapes: B items, C channels, H x W pixels, S samples, h x w or T positions of the latent grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import nn

from helicon.formats.nearest import unknown
from helicon.plugins.registry import Registry


@dataclass(frozen=True, kw_only=True)
class NetSizes:
    """Step and channels that the networks of a codec have to fit.

    Args:
        step: down-sampling factor of the latent grid: along each axis of pictures, in samples a code of sound.
        channels: of the media that the encoder is fed.
        inputs: channels of the quantizer, which the encoder gives.
        outputs: channels of its latents, which the decoder is fed.
        decoder_channels: of the decoder's output; more than the media have where a likelihood has more parameters.
    """

    step: int
    channels: int
    inputs: int
    outputs: int
    decoder_channels: int


class Nets(NamedTuple):
    """Networks of a codec. Neither may mix the items of a batch.

    Attributes:
        encoder: pictures [B, channels, H, W] -> [B, inputs, h, w], or sound [B, channels, 1, S] -> [B, inputs, 1, T].
        decoder: [B, outputs, h, w] -> [B, decoder_channels, H, W]; for sound [B, outputs, 1, T] -> [.., 1, S].
        receptive_field: for sound, positions of the latent grid to either side that a code or a sample can depend on:
            the overlap of the chunks of a long sound. Networks of sound also accept the length of each padded item.
    """

    encoder: nn.Module
    decoder: nn.Module
    receptive_field: int = 0


MakeNets = Callable[[Any, NetSizes], Nets]
NETS: dict[str, Registry[MakeNets]] = {
    "image": Registry("codec net of pictures"), "audio": Registry("codec net of sound"),
}  # fmt: skip


def register_codec_net(medium: str, name: str) -> Callable[[MakeNets], MakeNets]:
    """Register a function that makes the networks of a codec, for `--model.net NAME`.

    Args:
        medium: `image` or `audio`.
        name: of the networks, as typed after `--model.net`.

    Returns:
        A decorator of `make(config, sizes) -> Nets`, called with an ImageCodecConfig or AudioCodecConfig and NetSizes.

    Raises:
        PluginError: the name is taken.
        ValueError: unknown medium.
    """
    if medium not in NETS:
        raise ValueError(unknown("medium of codecs", medium, NETS))
    return lambda make: NETS[medium].register(name, make)
