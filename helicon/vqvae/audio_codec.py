"""Audio codec: one VQ-VAE for each level, each with its own hop (arXiv:2005.00341, section 3).

Level 0 is the finest. Long sounds are coded in chunks that overlap by the receptive field of a code.

Shapes: B sounds, C channels, S samples, T codes of a level, one for each `hop` samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helicon.vqvae.chunks import concatenate, map_batches, map_chunks, rechunk
from helicon.vqvae.codec import Bottleneck, make_quantizer
from helicon.vqvae.config import AudioCodecConfig
from helicon.vqvae.nets import NetSizes
from helicon.vqvae.quantizers import Quantizer

CHUNK = 2048  # codes of one sound that are processed at a time; bounds memory, whatever the sound's length
# Samples of all sounds of a batch. On a CPU as much as its caches hold: more is slower
CPU_SAMPLES, GPU_SAMPLES = 1 << 15, 1 << 21


class AudioCodecOutput(NamedTuple):
    """Output of one level in training.

    Attributes:
        sound: reconstruction [B, C, S], S samples.
        codes: int64 [B, T], T = S / hop.
        loss: the quantizer's loss alone, a scalar; the trainer adds the reconstruction's (compare `CodecOutput`).
    """

    sound: Tensor
    codes: Tensor
    loss: Tensor


class AudioCodecLevel(Bottleneck):
    """VQ-VAE of waveforms in [-1, 1].

    `scale` is the standard deviation of the training sounds, by which the networks' inputs are divided.
    """

    def __init__(self, config: AudioCodecConfig, hop: int, quantizer: Quantizer | None = None) -> None:
        quantizer, channels = quantizer or make_quantizer(config), config.channels
        sizes = NetSizes(
            step=hop, channels=channels, inputs=quantizer.inputs, outputs=quantizer.outputs, decoder_channels=channels
        )
        super().__init__("audio", config, sizes, (1, hop), quantizer)
        self.hop, self.channels = hop, channels
        self.scale: Tensor
        self.register_buffer("scale", torch.ones(()))

    def forward(self, sound: Tensor) -> AudioCodecOutput:
        """Reconstruct sound as `AudioCodecOutput`, with a gradient.

        Args:
            sound: [B, C, S] in [-1, 1] of S samples, a multiple of the hop.
        """
        decoded, quantized = self.autoencode(self._as_row(sound))
        return AudioCodecOutput(decoded[:, :, 0] * self.scale, quantized.codes[:, 0], quantized.loss)

    @torch.inference_mode()
    def encode(self, sound: Tensor, codes: Sequence[int] | None = None) -> Tensor:
        """Encode a batch of sounds at once.

        Args:
            sound: [B, C, S] in [-1, 1], S samples; an incomplete last hop is padded with silence.
            codes: B ints, the number of codes of each sound, where some are padded; codes beyond it are meaningless.
                None if no sound is padded.

        Returns:
            Codes int64 [B, T], one for each `hop` samples.
        """
        row = self._as_row(F.pad(sound, (0, -sound.shape[-1] % self.hop)))
        return self.encode_media(row, *([] if codes is None else [[n * self.hop for n in codes]]))[:, 0]

    @torch.inference_mode()
    def decode(self, codes: Tensor, lengths: Sequence[int] | None = None) -> Tensor:
        """Decode a batch of codes at once.

        Args:
            codes: int64 [B, T], T codes a sound.
            lengths: B ints, the number of codes of each sound, where some are padded to T; None if none is.

        Returns:
            Sound [B, C, T hop] in [-1, 1], `hop` samples a code.
        """
        decoded = self.decode_codes(codes[:, None], *([] if lengths is None else [lengths]))
        return (decoded[:, :, 0] * self.scale).clamp(-1, 1)

    def _as_row(self, sound: Tensor) -> Tensor:
        """View sound [B, C, S] as a picture of one row for the networks, [B, C, 1, S], channels last in memory."""
        return (sound / self.scale)[:, :, None].contiguous(memory_format=torch.channels_last)

    def encode_many(self, sounds: Sequence[Tensor]) -> list[Tensor]:
        """Encode a list of sounds [C, S] in [-1, 1], of any numbers of samples S, to a list of codes int64 [T].

        The codes are those of `encode_long`, one for each `hop` samples, but sounds of similar length are batched.
        Codes are on the sounds' device.
        """
        padded = [F.pad(sound, (0, -sound.shape[-1] % self.hop)) for sound in sounds]
        chunks = map_batches(padded, self.encode, **self._batch_limits, width=self.hop)
        return [concatenate(codes, sound.new_zeros(0, dtype=torch.int64)) for sound, codes in zip(sounds, chunks)]

    def decode_many(self, codes: Sequence[Tensor]) -> list[Tensor]:
        """Decode a list of code sequences int64 [T] to a list of sounds [C, T hop] in [-1, 1], on the codes' device.

        The sounds are those of `decode_long`, but sequences of similar length are batched.
        """
        chunks = map_batches(codes, self.decode, **self._batch_limits, output_width=self.hop)
        return [concatenate(sound, self._silence.to(local.device)) for local, sound in zip(codes, chunks)]

    def encode_long(self, sound: Tensor) -> Tensor:
        """Encode a sound [C, S] of S samples in [-1, 1] to codes int64 [T] in chunks: `encode` in bounded memory."""
        return torch.cat([sound.new_zeros(0, dtype=torch.int64), *self.encode_stream([sound])])

    def decode_long(self, codes: Tensor) -> Tensor:
        """Decode T codes int64 [T] to a sound [C, T hop] in [-1, 1], in chunks: `decode` in bounded memory."""
        return torch.cat([self._silence, *self.decode_stream([codes])], -1)

    def encode_stream(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Encode sound that comes in blocks [C, samples] of any length; yields codes int64 [t] in chunks.

        Samples are in [-1, 1], at the codec's rate and on its device.
        """
        padded = (F.pad(block, (0, -block.shape[-1] % self.hop)) for block in rechunk(blocks, CHUNK * self.hop))
        return map_chunks(padded, CHUNK * self.hop, self.receptive_field * self.hop, self._encode_chunk)

    def decode_stream(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Decode codes that come in blocks int64 [t] of any length; yields sound [C, samples] in [-1, 1] in chunks."""
        return map_chunks(rechunk(blocks, CHUNK), CHUNK, self.receptive_field, self._decode_chunk)

    def _encode_chunk(self, sound: Tensor, first: int, last: int) -> Tensor:
        return self.encode(sound[None])[0, first // self.hop : last // self.hop]

    def _decode_chunk(self, codes: Tensor, first: int, last: int) -> Tensor:
        return self.decode(codes[None])[0, :, first * self.hop : last * self.hop]

    @property
    def _batch_limits(self) -> dict[str, Any]:
        """Arguments of `map_batches` that bound how much is processed at a time."""
        device = self.scale.device
        samples = CPU_SAMPLES if device.type == "cpu" else GPU_SAMPLES
        return {"device": device, "size": CHUNK, "halo": self.receptive_field, "max_codes": samples // self.hop}

    @property
    def _silence(self) -> Tensor:
        """Empty sound [C, 0], the decoding of no codes."""
        return self.scale.new_zeros(self.channels, 0)


class AudioCodec(nn.Module):
    """Audio codec of one or more levels, finest first; each level is a VQ-VAE with weights of its own."""

    def __init__(self, config: AudioCodecConfig, quantizers: Iterable[Quantizer] | None = None) -> None:
        super().__init__()
        self.config = config
        quantizers = list(quantizers) if quantizers is not None else [make_quantizer(config) for _ in config.hops]
        self.levels = nn.ModuleList(
            AudioCodecLevel(config, hop, quantizer) for hop, quantizer in zip(config.hops, quantizers)
        )
        self._to_channels_last()

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load weights as `nn.Module` does, with kernels in channels-last memory, so that rounding stays the same."""
        keys = super().load_state_dict(*args, **kwargs)
        self._to_channels_last()
        return keys

    def _to_channels_last(self) -> None:
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def level(self, number: int) -> AudioCodecLevel:
        """Return an `AudioCodecLevel` by number: 0 is the finest, -1 the top. ValueError when there is none such."""
        if not -len(self.levels) <= number < len(self.levels):
            raise ValueError(f"level {number}: this codec has {len(self.levels)}, 0 is the finest")
        return cast(AudioCodecLevel, self.levels[number])
