"""A codec: encoder, quantizer and decoder as one network, media tensors in [-1, 1] to codes and back.

Shapes: B items, C channels, `x` the axes of the medium (H x W of pictures), `g` of the code grid, f times smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from helicon.vqvae.config import ImageCodecConfig, QuantizerConfig, QuantizerLearning
from helicon.vqvae.image_nets import IMAGE_NETS
from helicon.vqvae.kmeans import nearest
from helicon.vqvae.likelihoods import LIKELIHOODS
from helicon.vqvae.nets import NetSizes
from helicon.vqvae.precision import single_precision
from helicon.vqvae.quantizers import QUANTIZERS, Quantized, Quantizer

CHANNELS = 3


class Seen(NamedTuple):
    """What a codec made of media: reconstructions [B, C, x], codes int64 [B, g], and the loss to minimise."""

    media: Tensor
    codes: Tensor
    loss: Tensor


class Bottleneck(nn.Module):
    """Encoder, quantizer and decoder, and which of the quantizer's codes are kept.

    Args:
        encoder: gives as many channels as the quantizer takes.
        quantizer: between the two.
        decoder: takes as many channels as the quantizer gives.
        titles: of the networks and of the quantizer, for messages about what they give.
    """

    def __init__(self, encoder: nn.Module, quantizer: Quantizer, decoder: nn.Module, titles: tuple[str, str]) -> None:
        super().__init__()
        self.encoder, self.quantizer, self.decoder, self.titles = encoder, quantizer, decoder, titles
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
        return self.quantizer.started

    def through(self, media: Tensor, grid: Sequence[int]) -> tuple[Tensor, Quantized]:
        """Media through all three, with a gradient.

        Args:
            media: as the encoder takes them.
            grid: shape of the latent grid.

        Returns:
            What the decoder gives, and what the quantizer does.

        Raises:
            ValueError: for what has another shape than it is to have, with where its maker is registered.
        """
        (nets, quantizer), batch, own = self.titles, len(media), self.quantizer
        found = own(_fits(f"the encoder of {nets}", self.encoder(media), (batch, own.inputs, *grid)))
        _fits(f"{quantizer}: latents", found.latents, (batch, own.outputs, *grid))
        _fits(f"{quantizer}: codes", found.codes, (batch, *grid))
        _fits(f"{quantizer}: its loss", found.loss, ())
        made = self.decoder(found.latents)
        return _fits(f"the decoder of {nets}", made, (*made.shape[:2], *media.shape[2:])), found

    def codes_of(self, media: Tensor, *ends: Sequence[int]) -> Tensor:
        """What the encoder is fed -> int64 [B, g]. ends: as the encoder takes them."""
        with single_precision(media.device.type):
            return self.renumbered[self.quantizer.encode(self.encoder(media, *ends))]

    def decoded(self, codes: Tensor, *ends: Sequence[int]) -> Tensor:
        """int64 [B, g] -> what the decoder gives. ends: as the decoder takes them."""
        with single_precision(codes.device.type):
            return self.decoder(self.quantizer.decode(self.kept[codes]), *ends)

    @torch.no_grad()
    def keep(self, used: Tensor) -> None:
        """Drops all codes but those `used` (bool [codebook_size]); what was nearest to one goes to the next nearest.

        ValueError when none is left.
        """
        if used.shape != self.kept.shape or not bool(used.any()):
            raise ValueError(f"used must be {len(self.kept)} booleans, some of them true")
        kept = self.kept[used.to(self.kept.device)]
        every = torch.arange(self.quantizer.codebook_size, device=kept.device)
        latents = self.quantizer.decode(every)
        with single_precision(latents.device.type):
            self.renumbered = nearest(latents, latents[kept])
        self.renumbered[kept] = torch.arange(len(kept), device=kept.device)
        self.kept = kept


class Codec(Bottleneck):
    """Pictures to codes 0 .. codebook_size-1 of a grid and back. Nothing in it mixes the items of a batch."""

    def __init__(self, config: ImageCodecConfig, quantizer: Quantizer | None = None) -> None:
        made, likelihood = quantizer or make_quantizer(config), LIKELIHOODS[config.likelihood]
        sizes = NetSizes(
            step=config.factor, channels=CHANNELS, inputs=made.inputs, outputs=made.outputs,
            made=CHANNELS * likelihood.parameters,
        )  # fmt: skip
        encoder, decoder, _ = IMAGE_NETS.get(config.net)(config, sizes)
        super().__init__(encoder, made, decoder, (IMAGE_NETS.title(config.net), QUANTIZERS.title(config.quantizer)))
        self.config, self.likelihood = config, likelihood

    def forward(self, media: Tensor) -> Seen:
        """Through the bottleneck with a gradient."""
        out, found = self.through(media, [size // self.config.factor for size in media.shape[2:]])
        return Seen(self.likelihood.mean(out), found.codes, self.likelihood.loss(out, media) + found.loss)

    @torch.inference_mode()
    def encode(self, media: Tensor) -> Tensor:
        """[B, C, x] in [-1, 1] -> int64 [B, g]."""
        return self.codes_of(media)

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        """int64 [B, g] -> [B, C, x] in [-1, 1]."""
        return self.likelihood.mean(self.decoded(codes)).clamp(-1, 1)


def _fits(what: str, found: Tensor, shape: Sequence[int]) -> Tensor:
    """A tensor of the shape that it is to have; ValueError for another."""
    if tuple(found.shape) != tuple(shape):
        raise ValueError(f"{what} {list(found.shape)}: {list(shape)} is needed")
    return found


def make_quantizer(config: QuantizerConfig, learning: QuantizerLearning | None = None) -> Quantizer:
    """The quantizer of a config."""
    return QUANTIZERS.get(config.quantizer)(config, learning or QuantizerLearning())
