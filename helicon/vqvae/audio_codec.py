"""A codec of sound: one VQ-VAE for each level, each of its own hop (arXiv:2005.00341, section 3).

Level 0 is the finest. Sounds of any length go through in chunks that overlap by what a code can depend on.

Shapes: B sounds, C channels, S samples, T codes of a level, one for each `hop` samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helicon.vqvae.chunks import blocks_of, chunks, joined, together
from helicon.vqvae.codec import Bottleneck, make_quantizer
from helicon.vqvae.config import AudioCodecConfig
from helicon.vqvae.nets import NetSizes
from helicon.vqvae.quantizers import Quantizer

CHUNK = 2048  # codes of a sound that go through at a time
CPU_SAMPLES, GPU_SAMPLES = 1 << 15, 1 << 21  # of all sounds of a batch


class AudioCodecOutput(NamedTuple):
    """What a level made of sound: reconstruction [B, C, S], codes int64 [B, T], the quantizer's loss."""

    sound: Tensor
    codes: Tensor
    loss: Tensor


class AudioCodecLevel(Bottleneck):
    """Waveforms in [-1, 1] to codes and back. `scale`: the sounds' standard deviation, which nets see as 1."""

    def __init__(self, config: AudioCodecConfig, hop: int, quantizer: Quantizer | None = None) -> None:
        made, channels = quantizer or make_quantizer(config), config.channels
        sizes = NetSizes(step=hop, channels=channels, inputs=made.inputs, outputs=made.outputs, made=channels)
        super().__init__("audio", config, sizes, (1, hop), made)
        self.hop, self.channels = hop, channels
        self.scale: Tensor
        self.register_buffer("scale", torch.ones(()))

    def forward(self, sound: Tensor) -> AudioCodecOutput:
        """[B, C, S], S a multiple of the hop, through the bottleneck with a gradient."""
        made, found = self.through(self._row(sound))
        return AudioCodecOutput(made[:, :, 0] * self.scale, found.codes[:, 0], found.loss)

    @torch.inference_mode()
    def encode(self, sound: Tensor, codes: Sequence[int] | None = None) -> Tensor:
        """[B, C, S] -> int64 [B, T], all at once; what is missing of the last hop is silence.

        codes: how many each sound has, if some are padded; those that it is given beyond them mean nothing.
        """
        row = self._row(F.pad(sound, (0, -sound.shape[-1] % self.hop)))
        return self.codes_of(row, *([] if codes is None else [[n * self.hop for n in codes]]))[:, 0]

    @torch.inference_mode()
    def decode(self, codes: Tensor, lengths: Sequence[int] | None = None) -> Tensor:
        """int64 [B, T] -> [B, C, T hop] in [-1, 1], all at once. lengths: codes of each, if it is padded to T."""
        made = self.decoded(codes[:, None], *([] if lengths is None else [lengths]))
        return (made[:, :, 0] * self.scale).clamp(-1, 1)

    def _row(self, sound: Tensor) -> Tensor:
        """[B, C, S] -> [B, C, 1, S], channels innermost, as the nets take it."""
        return (sound / self.scale)[:, :, None].contiguous(memory_format=torch.channels_last)

    def encode_many(self, sounds: Sequence[Tensor]) -> list[Tensor]:
        """`encode_long` of each, on the device that each is on; those of like length go through together."""
        padded = [F.pad(sound, (0, -sound.shape[-1] % self.hop)) for sound in sounds]
        found = together(padded, self.encode, **self._at_a_time, width=self.hop)
        return [joined(made, sound.new_zeros(0, dtype=torch.int64)) for sound, made in zip(sounds, found)]

    def decode_many(self, codes: Sequence[Tensor]) -> list[Tensor]:
        """`decode_long` of each, as `encode_many`."""
        found = together(codes, self.decode, **self._at_a_time, made_width=self.hop)
        return [joined(made, self._silence.to(given.device)) for given, made in zip(codes, found)]

    def encode_long(self, sound: Tensor) -> Tensor:
        """[C, S] of any length -> int64 [T], in chunks: the codes that `encode` gives, in bounded memory."""
        return torch.cat([sound.new_zeros(0, dtype=torch.int64), *self.encode_stream([sound])])

    def decode_long(self, codes: Tensor) -> Tensor:
        """int64 [T] of any length -> [C, T hop], in chunks."""
        return torch.cat([self._silence, *self.decode_stream([codes])], -1)

    def encode_stream(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Blocks [C, S] of a sound, of any lengths -> its codes, a chunk at a time."""
        padded = (F.pad(block, (0, -block.shape[-1] % self.hop)) for block in blocks_of(blocks, CHUNK * self.hop))
        return chunks(padded, CHUNK * self.hop, self.reach * self.hop, self._encoded)

    def decode_stream(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Codes, any number at a time -> the sound [C, S], a chunk at a time."""
        return chunks(blocks_of(blocks, CHUNK), CHUNK, self.reach, self._decoded)

    def _encoded(self, sound: Tensor, first: int, last: int) -> Tensor:
        return self.encode(sound[None])[0, first // self.hop : last // self.hop]

    def _decoded(self, codes: Tensor, first: int, last: int) -> Tensor:
        return self.decode(codes[None])[0, :, first * self.hop : last * self.hop]

    @property
    def _at_a_time(self) -> dict[str, Any]:
        """How much goes through the nets at a time: on a CPU as much as its caches hold, more of it is slower."""
        device = self.scale.device
        samples = CPU_SAMPLES if device.type == "cpu" else GPU_SAMPLES
        return {"device": device, "size": CHUNK, "halo": self.reach, "most": samples // self.hop}

    @property
    def _silence(self) -> Tensor:
        """The sound [C, 0] of no codes."""
        return self.scale.new_zeros(self.channels, 0)


class AudioCodec(nn.Module):
    """The levels, finest first; each is a VQ-VAE of its own."""

    def __init__(self, config: AudioCodecConfig, quantizers: Iterable[Quantizer] | None = None) -> None:
        super().__init__()
        self.config = config
        made = list(quantizers) if quantizers is not None else [make_quantizer(config) for _ in config.hops]
        self.levels = nn.ModuleList(AudioCodecLevel(config, hop, each) for hop, each in zip(config.hops, made))
        self._innermost()

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As any module's; kernels are laid out as they were, for the same rounding."""
        found = super().load_state_dict(*args, **kwargs)
        self._innermost()
        return found

    def _innermost(self) -> None:
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def level(self, number: int) -> AudioCodecLevel:
        """Level 0 is the finest, -1 the top. ValueError when there is none of that number."""
        if not -len(self.levels) <= number < len(self.levels):
            raise ValueError(f"level {number}: this codec has {len(self.levels)}, 0 is the finest")
        return cast(AudioCodecLevel, self.levels[number])
