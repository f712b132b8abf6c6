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
from helicon.sequence.vocabulary import Block
from helicon.tokenizers.base import check_ids
from helicon.tokenizers.codes import copied
from helicon.tokenizers.samples import check_sound
from helicon.tokenizers.timing import TimeAutomaton


class Level(Protocol):
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
    def level(self, number: int) -> Level: ...


class SoundCodesTokenizer:
    """Sounds to codes of one level, each for `hop` samples of every channel, and back.

    level: 0 is the finest, -1 the top. rate: samples a second. weights: of the codec, to be kept with what uses its
    codes. config: JSON-able, with their fingerprint. What becomes of a sound does not depend on which others go
    through the codec with it, but for what floats round away.
    """

    def __init__(
        self, codec: SoundCodec, level: int, rate: int, channels: int, config: Mapping[str, Any],
        weights: Mapping[str, Tensor], block: str = "audio",
    ) -> None:  # fmt: skip
        self.codec, self._net = codec, codec.level(level)
        self.level, self.sample_rate, self.channels = level % len(codec.levels), rate, channels
        self._config, self._weights = dict(config), dict(weights)
        self.rate = rate / self._net.hop  # tokens a second
        size = self._net.codebook_size
        self.block = Block(block, tuple(f"v{i:0{len(str(size - 1))}}" for i in range(size)))
        self.automaton = TimeAutomaton(size, self.rate)

    def at(self, level: int, block: str) -> SoundCodesTokenizer:
        """The tokenizer of a level of the same codec, for another slot; ValueError when there is no such level."""
        return SoundCodesTokenizer(
            self.codec, level, self.sample_rate, self.channels, self._config, self._weights, block
        )  # fmt: skip

    def on(self, device: torch.device | str) -> SoundCodesTokenizer:
        """The same with a copy of the codec on that device."""
        return SoundCodesTokenizer(
            copied(self.codec, device), self.level, self.sample_rate, self.channels, self._config, self._weights,
            self.block.name,
        )  # fmt: skip

    @property
    def hop(self) -> int:
        """Samples a code."""
        return self._net.hop

    @property
    def reading(self) -> dict[str, int]:
        """Options with which files are to be read."""
        return {"rate": self.sample_rate, "channels": self.channels}

    def encode(self, media: Sound) -> np.ndarray:
        """int64 [ceil(S / hop)], silence where the last hop is not whole; ValueError for another rate or channels."""
        return self.encode_many([media])[0]

    def encode_many(self, media: Sequence[Sound]) -> list[np.ndarray]:
        """`encode` of each, several at once on the codec's device."""
        sounds = [check_sound(sound, self.sample_rate, self.channels).samples for sound in media]
        given = [torch.from_numpy(np.require(x_SC.T, requirements="W")) for x_SC in sounds]
        return [codes.numpy() for codes in self._net.encode_many(given)]

    def decode(self, ids: np.ndarray) -> Sound:
        """Sound of hop samples an id, whatever they are; ValueError for ids outside the block."""
        return self.decode_many([ids])[0]

    def decode_many(self, ids: Sequence[np.ndarray]) -> list[Sound]:
        """`decode` of each, several at once on the codec's device."""
        codes = [torch.from_numpy(check_ids(each, len(self.block))) for each in ids]
        made = self._net.decode_many(codes)
        return [Sound(np.ascontiguousarray(sound.numpy().T), self.sample_rate) for sound in made]

    def units(self, ids: np.ndarray) -> dict[str, float]:
        """What a loss can be told by."""
        return {"second": len(ids) / self.rate}

    def describe(self) -> dict[str, Any]:
        """For people."""
        what = {"level": self.level, "hop": self.hop, **self.reading}
        return {"codec": self._config["fingerprint"], **self._config["shape"], **what}

    def state(self) -> dict[str, Any]:
        """JSON-able; the weights apart."""
        return {"block": self.block.name, "level": self.level, "codec": self._config}

    def weights(self) -> dict[str, Tensor]:
        """The codec's."""
        return self._weights
