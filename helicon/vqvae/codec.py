"""A codec: encoder, quantizer and decoder as one network, media tensors in [-1, 1] to codes and back.

Shapes: B items, C channels, `x` the axes of the medium (H x W of pictures), `g` of the code grid, f times smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from helicon.plugins.plugin import PluginError
from helicon.plugins.registry import Registry
from helicon.vqvae.config import AudioCodecConfig, ImageCodecConfig, QuantizerConfig, QuantizerLearning
from helicon.vqvae.kmeans import nearest
from helicon.vqvae.likelihoods import LIKELIHOODS
from helicon.vqvae.nets import NETS, MakeNets, Nets, NetSizes
from helicon.vqvae.precision import single_precision
from helicon.vqvae.quantizers import QUANTIZERS, Quantized, Quantizer

CHANNELS = 3


class CodecOutput(NamedTuple):
    """What a codec made of media: reconstructions [B, C, x], codes int64 [B, g], and the loss to minimise."""

    media: Tensor
    codes: Tensor
    loss: Tensor


class Bottleneck(nn.Module):
    """Encoder, quantizer and decoder, and which of the quantizer's codes are kept.

    What they give is looked at, since each may be of a plugin: a PluginError says where that is registered.

    Args:
        networks: where the config's `net` is registered, which makes encoder and decoder.
        config: of the codec.
        sizes: that the networks have to fit.
        steps: how many times smaller the latent grid is, along each of its axes.
        quantizer: between the two.
    """

    def __init__(
        self, networks: str, config: ImageCodecConfig | AudioCodecConfig, sizes: NetSizes, steps: tuple[int, int],
        quantizer: Quantizer,
    ) -> None:  # fmt: skip
        super().__init__()
        self._networks, self._names, self._sizes, self._steps = networks, (config.net, config.quantizer), sizes, steps
        self.encoder, decoder, self.reach = make_nets(networks, config, sizes)
        self.quantizer, self.decoder = quantizer, decoder
        self.kept: Tensor
        self.renumbered: Tensor
        every = torch.arange(self.quantizer.codebook_size)
        self.register_buffer("kept", every)  # code -> the quantizer's code
        self.register_buffer("renumbered", every.clone())  # the quantizer's code -> code

    @property
    def codebook_size(self) -> int:
        """Codes there are."""
        return len(self.kept)

    @property
    def started(self) -> bool:
        """Whether there is a codebook yet."""
        with QUANTIZERS.running(self._names[1]):
            return self.quantizer.started

    def through(self, media: Tensor) -> tuple[Tensor, Quantized]:
        """Media through all three, with a gradient: what the decoder gives, and what the quantizer does."""
        latents, own = self._into_latents(media), self.quantizer
        with QUANTIZERS.running(self._names[1]):
            found = own(latents)
        if not isinstance(found, Quantized):
            raise self._fault(f"forward gives {type(found).__name__}; a helicon.Quantized is needed")
        grid = latents.shape[2:]
        self._fits("latents", found.latents, (len(media), own.outputs, *grid))
        self._codes(found.codes, (len(media), *grid))
        self._fits("its loss", found.loss, ())
        return self._out_of_latents(found.latents), found

    def codes_of(self, media: Tensor, *ends: Sequence[int]) -> Tensor:
        """What the encoder is fed -> int64 [B, g]. ends: as the encoder takes them."""
        with single_precision(media.device.type):
            latents = self._into_latents(media, *ends)
            with QUANTIZERS.running(self._names[1]):
                codes = self.quantizer.encode(latents)
            return self.renumbered[self._codes(codes, (len(media), *latents.shape[2:]))]

    def decoded(self, codes: Tensor, *ends: Sequence[int]) -> Tensor:
        """int64 [B, g] -> what the decoder gives. ends: as the decoder takes them."""
        with single_precision(codes.device.type):
            return self._out_of_latents(self._latents(self.kept[codes]), *ends)

    def _into_latents(self, media: Tensor, *ends: Sequence[int]) -> Tensor:
        networks = NETS[self._networks]
        with networks.running(self._names[0]):
            found = self.encoder(media, *ends)
        grid = [size // step for size, step in zip(media.shape[2:], self._steps)]
        return self._fits("its encoder gives", found, (len(media), self.quantizer.inputs, *grid), networks)

    def _out_of_latents(self, latents: Tensor, *ends: Sequence[int]) -> Tensor:
        networks = NETS[self._networks]
        with networks.running(self._names[0]):
            found = self.decoder(latents, *ends)
        sizes = [size * step for size, step in zip(latents.shape[2:], self._steps)]
        return self._fits("its decoder gives", found, (len(latents), self._sizes.made, *sizes), networks)

    def _latents(self, codes: Tensor) -> Tensor:
        """Of the quantizer's own codes."""
        with QUANTIZERS.running(self._names[1]):
            found = self.quantizer.decode(codes)
        return self._fits("decode gives", found, (len(codes), self.quantizer.outputs, *codes.shape[1:]))

    def _codes(self, codes: Any, shape: Sequence[int]) -> Tensor:
        """The quantizer's codes; those of a plugin have to be codes that there are, for which a GPU is waited for."""
        self._fits("codes", codes, shape)
        name, size = self._names[1], self.quantizer.codebook_size
        if codes.dtype != torch.int64:
            raise self._fault(f"codes of {codes.dtype}; torch.int64 is needed")
        if QUANTIZERS.plugin_of(name) and codes.numel() and not bool(((codes >= 0) & (codes < size)).all()):
            raise self._fault(f"codes from {int(codes.min())} to {int(codes.max())}; it has 0 to {size - 1}")
        return codes

    def _fits(self, what: str, found: Any, shape: Sequence[int], networks: Registry[MakeNets] | None = None) -> Tensor:
        """A tensor of the shape that it is to have, of the networks or the quantizer."""
        if not isinstance(found, Tensor) or tuple(found.shape) != tuple(shape):
            given = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise self._fault(f"{what} {given}: {list(shape)} is needed", networks)
        return found

    def _fault(self, what: str, networks: Registry[MakeNets] | None = None) -> PluginError:
        return networks.fault(self._names[0], what) if networks else QUANTIZERS.fault(self._names[1], what)

    @torch.no_grad()
    def keep(self, used: Tensor) -> None:
        """Drops all codes but those `used` (bool [codebook_size]); what was nearest to one goes to the next nearest.

        ValueError when none is left.
        """
        if used.shape != self.kept.shape or not bool(used.any()):
            raise ValueError(f"used must be {len(self.kept)} booleans, some of them true")
        kept = self.kept[used.to(self.kept.device)]
        every = torch.arange(self.quantizer.codebook_size, device=kept.device)
        latents = self._latents(every)
        with single_precision(latents.device.type):
            self.renumbered = nearest(latents, latents[kept])
        self.renumbered[kept] = torch.arange(len(kept), device=kept.device)
        self.kept = kept


class ImageCodec(Bottleneck):
    """Pictures to codes 0 .. codebook_size-1 of a grid and back. Nothing in it mixes the items of a batch."""

    def __init__(self, config: ImageCodecConfig, quantizer: Quantizer | None = None) -> None:
        made, likelihood = quantizer or make_quantizer(config), LIKELIHOODS[config.likelihood]
        sizes = NetSizes(
            step=config.factor, channels=CHANNELS, inputs=made.inputs, outputs=made.outputs,
            made=CHANNELS * likelihood.parameters,
        )  # fmt: skip
        super().__init__("image", config, sizes, (config.factor, config.factor), made)
        self.config, self.likelihood = config, likelihood

    def forward(self, media: Tensor) -> CodecOutput:
        """Through the bottleneck with a gradient."""
        out, found = self.through(media)
        return CodecOutput(self.likelihood.mean(out), found.codes, self.likelihood.loss(out, media) + found.loss)

    @torch.inference_mode()
    def encode(self, media: Tensor) -> Tensor:
        """[B, C, x] in [-1, 1] -> int64 [B, g]."""
        return self.codes_of(media)

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        """int64 [B, g] -> [B, C, x] in [-1, 1]."""
        return self.likelihood.mean(self.decoded(codes)).clamp(-1, 1)


def make_nets(medium: str, config: ImageCodecConfig | AudioCodecConfig, sizes: NetSizes) -> Nets:
    """The networks that a config names."""
    networks = NETS[medium]
    make = networks.get(config.net)
    with networks.running(config.net):
        found = make(config, sizes)
    if not isinstance(found, Nets):
        raise networks.fault(config.net, f"it makes {type(found).__name__}; helicon.Nets are needed")
    for part in found[:2]:
        if not isinstance(part, nn.Module):
            raise networks.fault(config.net, f"it makes a {type(part).__name__}; modules of PyTorch are needed")
    return found


def make_quantizer(config: QuantizerConfig, learning: QuantizerLearning | None = None) -> Quantizer:
    """The quantizer of a config."""
    make = QUANTIZERS.get(config.quantizer)
    with QUANTIZERS.running(config.quantizer):
        found = make(config, learning or QuantizerLearning())
        numbers = (found.codebook_size, found.inputs, found.outputs) if isinstance(found, Quantizer) else ()
    if not numbers:
        raise QUANTIZERS.fault(config.quantizer, f"it makes {type(found).__name__}; a helicon.Quantizer is needed")
    if not all(type(number) is int and number > 0 for number in numbers):
        said = ", ".join(map(str, numbers))
        needed = "whole numbers from 1 on are needed"
        raise QUANTIZERS.fault(config.quantizer, f"codebook_size, inputs and outputs {said}; {needed}")
    return found
