"""Codecs: encoder, quantizer and decoder as one network, media tensors in [-1, 1] to codes and back.

Shapes: B items, C channels, H x W pixels, S samples; h x w or 1 x T positions of the latent grid, one for each code.
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

CHANNELS = 3  # red, green, blue


class CodecOutput(NamedTuple):
    """Output of an image codec in training.

    Attributes:
        media: reconstructed pictures [B, 3, H, W].
        codes: int64 [B, h, w].
        loss: reconstruction and quantizer loss together, a scalar (compare `AudioCodecOutput`).
    """

    media: Tensor
    codes: Tensor
    loss: Tensor


class Bottleneck(nn.Module):
    """Encoder, quantizer and decoder, with the subset of the quantizer's codes that is kept.

    Encoder, decoder and quantizer may come from plugins, so types and shapes of their outputs are checked: a
    PluginError names where the faulty one is registered. Codes are numbered 0 .. codebook_size-1 over the kept ones.

    Args:
        networks: medium whose registry has the config's `net`: `image` or `audio`.
        config: of the codec.
        sizes: step and channels that the networks have to fit.
        steps: down-sampling factor along each axis of the latent grid.
        quantizer: between encoder and decoder.
    """

    def __init__(
        self, networks: str, config: ImageCodecConfig | AudioCodecConfig, sizes: NetSizes, steps: tuple[int, int],
        quantizer: Quantizer,
    ) -> None:  # fmt: skip
        super().__init__()
        self._networks, self._names, self._sizes, self._steps = networks, (config.net, config.quantizer), sizes, steps
        self.encoder, decoder, self.receptive_field = make_nets(networks, config, sizes)
        self.quantizer, self.decoder = quantizer, decoder
        self.kept: Tensor
        self.renumbered: Tensor
        every = torch.arange(self.quantizer.codebook_size)
        self.register_buffer("kept", every)  # code -> the quantizer's code
        self.register_buffer("renumbered", every.clone())  # the quantizer's code -> code

    @property
    def codebook_size(self) -> int:
        """Number of codes that are kept, K: codes are 0 .. K-1."""
        return len(self.kept)

    @property
    def started(self) -> bool:
        """True once the quantizer has a codebook; until then codes are meaningless."""
        with QUANTIZERS.running(self._names[1]):
            return self.quantizer.started

    def autoencode(self, media: Tensor) -> tuple[Tensor, Quantized]:
        """Run encoder, quantizer and decoder on pictures [B, C, H, W] or sound [B, C, 1, S], with a gradient.

        S is the number of samples. Return the decoder's output, in which only the number of channels may differ, and
        the `Quantized`, whose codes are the quantizer's, not renumbered.
        """
        latents = self._encode_latents(media)
        with QUANTIZERS.running(self._names[1]):
            quantized = self.quantizer(latents)
        if not isinstance(quantized, Quantized):
            raise self._fault(f"forward gives {type(quantized).__name__}; a helicon.Quantized is needed")
        grid = latents.shape[2:]
        self._check_shape("latents", quantized.latents, (len(media), self.quantizer.outputs, *grid))
        self._check_codes(quantized.codes, (len(media), *grid))
        self._check_shape("its loss", quantized.loss, ())
        return self._decode_latents(quantized.latents), quantized

    def encode_media(self, media: Tensor, *ends: Sequence[int]) -> Tensor:
        """Encode to kept codes, in float32 whatever the precision around.

        Args:
            media: input of the encoder, pictures [B, C, H, W] or sound [B, C, 1, S] of S samples.
            ends: nothing, or for padded sounds one sequence of B ints, the samples of each.

        Returns:
            Codes int64 on the latent grid, [B, h, w] of pictures or [B, 1, T] of sound, numbered over the kept ones.
        """
        with single_precision(media.device.type):
            latents = self._encode_latents(media, *ends)
            with QUANTIZERS.running(self._names[1]):
                codes = self.quantizer.encode(latents)
            return self.renumbered[self._check_codes(codes, (len(media), *latents.shape[2:]))]

    def decode_codes(self, codes: Tensor, *ends: Sequence[int]) -> Tensor:
        """Decode kept codes, in float32 whatever the precision around.

        Args:
            codes: int64 on the latent grid, [B, h, w] of pictures or [B, 1, T] of sound, numbered over the kept ones.
            ends: nothing, or for padded sounds one sequence of B ints, the number of codes of each.

        Returns:
            Output of the decoder, [B, channels, H, W] or [B, C, 1, S] of S samples.
        """
        with single_precision(codes.device.type):
            return self._decode_latents(self._lookup(self.kept[codes]), *ends)

    def _encode_latents(self, media: Tensor, *ends: Sequence[int]) -> Tensor:
        networks = NETS[self._networks]
        with networks.running(self._names[0]):
            latents = self.encoder(media, *ends)
        grid = [size // step for size, step in zip(media.shape[2:], self._steps)]
        return self._check_shape("its encoder gives", latents, (len(media), self.quantizer.inputs, *grid), networks)

    def _decode_latents(self, latents: Tensor, *ends: Sequence[int]) -> Tensor:
        networks = NETS[self._networks]
        with networks.running(self._names[0]):
            media = self.decoder(latents, *ends)
        sizes = [size * step for size, step in zip(latents.shape[2:], self._steps)]
        shape = (len(latents), self._sizes.decoder_channels, *sizes)
        return self._check_shape("its decoder gives", media, shape, networks)

    def _lookup(self, codes: Tensor) -> Tensor:
        """Latents of the quantizer's codes (not renumbered)."""
        with QUANTIZERS.running(self._names[1]):
            latents = self.quantizer.decode(codes)
        return self._check_shape("decode gives", latents, (len(codes), self.quantizer.outputs, *codes.shape[1:]))

    def _check_codes(self, codes: Any, shape: Sequence[int]) -> Tensor:
        """Return the quantizer's codes; PluginError for another shape or type, or for codes out of range."""
        self._check_shape("codes", codes, shape)
        name, size = self._names[1], self.quantizer.codebook_size
        if codes.dtype != torch.int64:
            raise self._fault(f"codes of {codes.dtype}; torch.int64 is needed")
        # Only for plugins, since reading the extremes waits for the GPU
        if QUANTIZERS.plugin_of(name) and codes.numel() and not bool(((codes >= 0) & (codes < size)).all()):
            raise self._fault(f"codes from {int(codes.min())} to {int(codes.max())}; it has 0 to {size - 1}")
        return codes

    def _check_shape(
        self, subject: str, output: Any, shape: Sequence[int], networks: Registry[MakeNets] | None = None
    ) -> Tensor:  # fmt: skip
        """Return the output of the networks, or else of the quantizer; PluginError unless a tensor of that shape."""
        if not isinstance(output, Tensor) or tuple(output.shape) != tuple(shape):
            actual = list(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise self._fault(f"{subject} {actual}: {list(shape)} is needed", networks)
        return output

    def _fault(self, what: str, networks: Registry[MakeNets] | None = None) -> PluginError:
        return networks.fault(self._names[0], what) if networks else QUANTIZERS.fault(self._names[1], what)

    @torch.no_grad()
    def keep(self, used: Tensor) -> None:
        """Drop unused codes and renumber the others; latents nearest to a dropped code get the nearest kept one.

        Args:
            used: bool [codebook_size], True for each code to keep.

        Raises:
            ValueError: no code is used, or another number of booleans.
        """
        if used.shape != self.kept.shape or not bool(used.any()):
            raise ValueError(f"used must be {len(self.kept)} booleans, some of them true")
        kept = self.kept[used.to(self.kept.device)]
        every = torch.arange(self.quantizer.codebook_size, device=kept.device)
        latents = self._lookup(every)
        with single_precision(latents.device.type):
            self.renumbered = nearest(latents, latents[kept])
        self.renumbered[kept] = torch.arange(len(kept), device=kept.device)
        self.kept = kept


class ImageCodec(Bottleneck):
    """Image codec: pictures to a grid of codes and back. No operation mixes the items of a batch."""

    def __init__(self, config: ImageCodecConfig, quantizer: Quantizer | None = None) -> None:
        quantizer, likelihood = quantizer or make_quantizer(config), LIKELIHOODS[config.likelihood]
        sizes = NetSizes(
            step=config.factor, channels=CHANNELS, inputs=quantizer.inputs, outputs=quantizer.outputs,
            decoder_channels=CHANNELS * likelihood.parameters,
        )  # fmt: skip
        super().__init__("image", config, sizes, (config.factor, config.factor), quantizer)
        self.config, self.likelihood = config, likelihood

    def forward(self, media: Tensor) -> CodecOutput:
        """Reconstruct pictures [B, 3, H, W] in [-1, 1] as `CodecOutput`, with a gradient."""
        out, quantized = self.autoencode(media)
        loss = self.likelihood.loss(out, media) + quantized.loss
        return CodecOutput(self.likelihood.mean(out), quantized.codes, loss)

    @torch.inference_mode()
    def encode(self, media: Tensor) -> Tensor:
        """Encode pictures [B, 3, H, W] in [-1, 1] to codes int64 [B, h, w], H = factor x h."""
        return self.encode_media(media)

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes int64 [B, h, w] to pictures [B, 3, H, W] in [-1, 1], H = factor x h."""
        return self.likelihood.mean(self.decode_codes(codes)).clamp(-1, 1)


def make_nets(medium: str, config: ImageCodecConfig | AudioCodecConfig, sizes: NetSizes) -> Nets:
    """Make the networks that a config names.

    Args:
        medium: registry of the networks, `image` or `audio`.
        config: `ImageCodecConfig` or `AudioCodecConfig`; its `net` is the registered name.
        sizes: `NetSizes`, the step and channels that the networks have to fit.

    Returns:
        `Nets`: encoder, decoder and, for sound, the receptive field in codes.

    Raises:
        PluginError: the registered function returns something else.
    """
    networks = NETS[medium]
    make = networks.get(config.net)
    with networks.running(config.net):
        nets = make(config, sizes)
    if not isinstance(nets, Nets):
        raise networks.fault(config.net, f"it makes {type(nets).__name__}; helicon.Nets are needed")
    for part in nets[:2]:
        if not isinstance(part, nn.Module):
            raise networks.fault(config.net, f"it makes a {type(part).__name__}; modules of PyTorch are needed")
    return nets


def make_quantizer(config: QuantizerConfig, learning: QuantizerLearning | None = None) -> Quantizer:
    """Make the quantizer that a config names.

    Args:
        config: `QuantizerConfig` or config of a codec; its `quantizer` is the registered name.
        learning: `QuantizerLearning`, the training options; None for the defaults, of a codec that is not trained any
            more.

    Returns:
        An untrained `Quantizer`.

    Raises:
        PluginError: the registered function returns something else, or sizes that are no positive integers.
    """
    make = QUANTIZERS.get(config.quantizer)
    with QUANTIZERS.running(config.quantizer):
        quantizer = make(config, learning or QuantizerLearning())
        is_quantizer = isinstance(quantizer, Quantizer)
        sizes = (quantizer.codebook_size, quantizer.inputs, quantizer.outputs) if is_quantizer else ()
    if not sizes:
        raise QUANTIZERS.fault(config.quantizer, f"it makes {type(quantizer).__name__}; a helicon.Quantizer is needed")
    if not all(type(size) is int and size > 0 for size in sizes):
        listed = ", ".join(map(str, sizes))
        needed = "whole numbers from 1 on are needed"
        raise QUANTIZERS.fault(config.quantizer, f"codebook_size, inputs and outputs {listed}; {needed}")
    return quantizer
