"""A codec: encoder, quantizer and decoder as one network, media tensors in [-1, 1] to codes and back.

Shapes: B items, C channels, `x` the axes of the medium (H x W of pictures), `g` of the code grid, f times smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from helicon.vqvae.config import ImageCodecConfig, QuantizerConfig
from helicon.vqvae.image_nets import ImageDecoder, ImageEncoder
from helicon.vqvae.kmeans import nearest
from helicon.vqvae.likelihoods import LIKELIHOODS
from helicon.vqvae.precision import single_precision
from helicon.vqvae.quantizers import EMAQuantizer, FSQuantizer, GumbelQuantizer, Quantizer

CHANNELS = 3


class Seen(NamedTuple):
    """What a codec made of media: reconstructions [B, C, x], codes int64 [B, g], and the loss to minimise."""

    media: Tensor
    codes: Tensor
    loss: Tensor


class Bottleneck(nn.Module):
    """Encoder, quantizer and decoder, and which of the quantizer's codes are kept."""

    def __init__(self, encoder: nn.Module, quantizer: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.quantizer: Quantizer = quantizer  # type: ignore[assignment]
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
        return getattr(self.quantizer, "started", True)

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

    def __init__(self, config: ImageCodecConfig, quantizer: nn.Module | None = None) -> None:
        made: Quantizer = quantizer or make_quantizer(config)  # type: ignore[assignment]
        likelihood = LIKELIHOODS[config.likelihood]
        sizes = (config.factor, config.width, config.blocks)
        encoder = ImageEncoder(*sizes, made.inputs)
        super().__init__(encoder, made, ImageDecoder(*sizes, made.outputs, CHANNELS * likelihood.parameters))  # type: ignore[arg-type]
        self.config, self.likelihood = config, likelihood

    def forward(self, media: Tensor) -> Seen:
        """Through the bottleneck with a gradient."""
        found = self.quantizer(self.encoder(media))
        out = self.decoder(found.latents)
        return Seen(self.likelihood.mean(out), found.codes, self.likelihood.loss(out, media) + found.loss)

    @torch.inference_mode()
    def encode(self, media: Tensor) -> Tensor:
        """[B, C, x] in [-1, 1] -> int64 [B, g]."""
        return self.codes_of(media)

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        """int64 [B, g] -> [B, C, x] in [-1, 1]."""
        return self.likelihood.mean(self.decoded(codes)).clamp(-1, 1)


def make_quantizer(
    config: QuantizerConfig, decay: float = 0.99, commitment: float = 0.25, kl: float = 1e-3, rare: float = 0.1
) -> nn.Module:  # fmt: skip
    """The quantizer of a config; the rest is how it learns."""
    if config.quantizer == "ema":
        return EMAQuantizer(config.codes, config.code_width, decay, commitment, rare)
    if config.quantizer == "gumbel":
        return GumbelQuantizer(config.codes, config.code_width, kl)
    return FSQuantizer(config.levels)
