"""Codes of one level of a codec of sound as tokens: what wraps a network of `vqvae` into a tokenizer.

Shapes: S samples, C channels, T codes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from helicon.formats.audio import Sound
from helicon.tokenizers.base import check_ids
from helicon.tokenizers.codec import CodecTokenizer
from helicon.tokenizers.samples import check_sound
from helicon.tokenizers.timing import TimeAutomaton


class CodeLevel(Protocol):
    """A network whose codes are tokens, each for `hop` samples; see `helicon.vqvae.audio_codec`."""

    @property
    def hop(self) -> int: ...
    @property
    def codebook_size(self) -> int: ...
    def encode_many(self, sounds: Sequence[Tensor]) -> list[Tensor]: ...  # [C, S] each -> int64 [T] each
    def decode_many(self, codes: Sequence[Tensor]) -> list[Tensor]: ...  # int64 [T] each -> [C, T * hop] each


class SoundCodec(Protocol):
    """Its levels, the finest first."""

    @property
    def levels(self) -> Sized: ...
    def level(self, number: int) -> CodeLevel: ...


class SoundCodesTokenizer(CodecTokenizer[Sound]):
    """Sounds to codes of one level, each for `hop` samples of every channel, and back.

    level: 0 is the finest, -1 the top. sample_rate: samples a second. What becomes of a sound does not depend on which
    others go through the codec with it, but for what floats round away. Where the last hop is not whole there is
    silence; ValueError for another rate or channels.
    """

    def __init__(
        self, codec: SoundCodec, level: int, sample_rate: int, channels: int, config: Mapping[str, Any],
        weights: Mapping[str, Tensor], block: str = "audio",
    ) -> None:  # fmt: skip
        net = codec.level(level)
        super().__init__(codec, net.codebook_size, config, weights, block)
        self.level, self.sample_rate, self.channels = level % len(codec.levels), sample_rate, channels
        self.hop = net.hop  # samples a code
        self.rate = sample_rate / net.hop  # tokens a second
        self.automaton = TimeAutomaton(net.codebook_size, self.rate)
        self.read_options = {"rate": sample_rate, "channels": channels}

    def at_level(self, level: int, block: str) -> SoundCodesTokenizer:
        """The tokenizer of a level of the same codec, for another slot; ValueError when there is no such level."""
        return SoundCodesTokenizer(
            self.codec, level, self.sample_rate, self.channels, self._config, self._weights, block
        )  # fmt: skip

    @property
    def _net(self) -> CodeLevel:
        return self.codec.level(self.level)

    def encode_many(self, media: Sequence[Sound]) -> list[np.ndarray]:
        """`encode` of each, several at once on the codec's device."""
        sounds = [check_sound(sound, self.sample_rate, self.channels).samples for sound in media]
        given = [torch.from_numpy(np.require(x_SC.T, requirements="W")) for x_SC in sounds]
        return [codes.numpy() for codes in self._net.encode_many(given)]

    def decode_many(self, ids: Sequence[np.ndarray]) -> list[Sound]:
        """`decode` of each, several at once on the codec's device."""
        codes = [torch.from_numpy(check_ids(each, len(self.block))) for each in ids]
        made = self._net.decode_many(codes)
        return [Sound(np.ascontiguousarray(sound.numpy().T), self.sample_rate) for sound in made]

    def units(self, ids: np.ndarray) -> dict[str, float]:
        """Amounts that a loss is told by."""
        return {"second": len(ids) / self.rate}

    def describe(self) -> dict[str, Any]:
        """For people."""
        return {**super().describe(), "level": self.level, "hop": self.hop, **self.read_options}

    def state(self) -> dict[str, Any]:
        """JSON-able; the weights apart."""
        return {**super().state(), "level": self.level}
