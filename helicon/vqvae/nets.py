"""Encoders and decoders of codecs by name: Helicon's own, `conv`, and those of plugins.

Shapes: B items, C channels, H x W pixels, S samples, h x w or T places of the latent grid.
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
    """What networks have to fit.

    Args:
        step: how many times smaller the latent grid is: each way of pictures, samples a code of sound.
        channels: of the media that the encoder is fed.
        inputs: channels of the quantizer, which the encoder gives.
        outputs: channels of its latents, which the decoder is fed.
        made: channels that the decoder gives; more than the media have where a likelihood has more parameters.
    """

    step: int
    channels: int
    inputs: int
    outputs: int
    made: int


class Nets(NamedTuple):
    """The networks of a codec.

    encoder: of pictures [B, channels, H, W] -> [B, inputs, h, w], of sound [B, channels, 1, S] -> [B, inputs, 1, T].
    decoder: the same with `outputs` and `made` channels, the other way. Neither mixes items of a batch.
    reach: of sound, places of the latent grid to either side that a place of it or a sample can depend on. With it
    long sounds go through in chunks, and both networks take another argument, the length of each item that is padded.
    """

    encoder: nn.Module
    decoder: nn.Module
    reach: int = 0


MakeNets = Callable[[Any, NetSizes], Nets]
NETS: dict[str, Registry[MakeNets]] = {
    "image": Registry("codec net of pictures"), "audio": Registry("codec net of sound"),
}  # fmt: skip


def register_codec_net(medium: str, name: str) -> Callable[[MakeNets], MakeNets]:
    """Decorates what makes networks of a codec, `--model.net NAME`.

    Args:
        medium: `image` or `audio`.
        name: of the networks.

    Returns:
        A decorator of `make(config, sizes)`: from an ImageCodecConfig or AudioCodecConfig and what they have to fit.

    Raises:
        PluginError: for a name that others have.
    """
    if medium not in NETS:
        raise ValueError(unknown("medium of codecs", medium, NETS))
    return lambda make: NETS[medium].register(name, make)
