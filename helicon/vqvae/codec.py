"""A codec: encoder, quantizer and decoder as one network, media tensors in [-1, 1] to codes and back.

Shapes: B items, C channels, `x` the axes of the medium (H x W of pictures), `g` of the code grid, f times smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal, NamedTuple, Protocol, get_args

import torch
from torch import Tensor, nn

from helicon.formats.checked import one_of, whole, wholes
from helicon.vqvae.image_nets import ImageDecoder, ImageEncoder
from helicon.vqvae.kmeans import nearest
from helicon.vqvae.likelihoods import LIKELIHOODS
from helicon.vqvae.precision import single_precision
from helicon.vqvae.quantizers import EMAQuantizer, FSQuantizer, GumbelQuantizer, Quantizer

CHANNELS = 3
MOST_FACTOR, MOST_WIDTH, MOST_BLOCKS, MOST_CODES, MOST_LEVELS = 1 << 10, 1 << 14, 256, 1 << 18, 16
Kind = Literal["ema", "gumbel", "fsq"]


@dataclass(frozen=True)
class CodecShape:
    """What a codec is made of.

    factor: how many times smaller the code grid is, each way. width: channels at the grid; blocks: residual blocks
    there, on either side. codes: size of the codebook (fsq: `levels` say it). code_width: channels of a code.
    """

    factor: int = 4
    width: int = 128
    blocks: int = 2
    quantizer: Kind = "ema"
    codes: int = 512
    code_width: int = 16
    levels: tuple[int, ...] = (8, 8, 8)
    likelihood: Literal["l2", "l1", "logit-laplace"] = "l2"

    def __post_init__(self) -> None:
        whole("factor", self.factor, 2, MOST_FACTOR)
        whole("width", self.width, 1, MOST_WIDTH)
        whole("blocks", self.blocks, 0, MOST_BLOCKS)
        check_bottleneck(self)
        if self.factor < 2 or self.factor & (self.factor - 1):
            raise ValueError(f"factor must be 2, 4, 8 or a higher power of 2, got {self.factor}")
        if self.width % 8 or min(self.width, self.code_width) < 1 or self.codes < 2 or self.blocks < 0:
            raise ValueError("width must be a multiple of 8, codes 2 or more, code_width 1 or more, blocks 0 or more")
        one_of("likelihood", self.likelihood, LIKELIHOODS)


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

    def __init__(self, shape: CodecShape, quantizer: nn.Module | None = None) -> None:
        made: Quantizer = quantizer or make_quantizer(shape)  # type: ignore[assignment]
        likelihood = LIKELIHOODS[shape.likelihood]
        sizes = (shape.factor, shape.width, shape.blocks)
        encoder = ImageEncoder(*sizes, made.inputs)
        super().__init__(encoder, made, ImageDecoder(*sizes, made.outputs, CHANNELS * likelihood.parameters))  # type: ignore[arg-type]
        self.shape, self.likelihood = shape, likelihood

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


class Bottled(Protocol):
    """What the shape of a codec says of its quantizer."""

    @property
    def quantizer(self) -> Kind: ...
    @property
    def codes(self) -> int: ...
    @property
    def code_width(self) -> int: ...
    @property
    def levels(self) -> tuple[int, ...]: ...


def check_bottleneck(shape: Bottled) -> None:
    """ValueError for a quantizer that there is not, or numbers out of bounds."""
    one_of("quantizer", shape.quantizer, get_args(Kind))
    whole("codes", shape.codes, 2, MOST_CODES)
    whole("code_width", shape.code_width, 1, MOST_WIDTH)
    if prod(wholes("levels", shape.levels, MOST_LEVELS, 2, MOST_CODES)) > MOST_CODES or not shape.levels:
        raise ValueError(f"levels {list(shape.levels)}: numbers whose product is at most {MOST_CODES:,} are accepted")


def make_quantizer(
    shape: Bottled, decay: float = 0.99, commitment: float = 0.25, kl: float = 1e-3, rare: float = 0.1
) -> nn.Module:  # fmt: skip
    """The quantizer of a shape; the rest is how it learns."""
    if shape.quantizer == "ema":
        return EMAQuantizer(shape.codes, shape.code_width, decay, commitment, rare)
    if shape.quantizer == "gumbel":
        return GumbelQuantizer(shape.codes, shape.code_width, kl)
    return FSQuantizer(shape.levels)
