"""Tokenizer of the codes of one level of an audio codec: wraps a network of `vqvae`.

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
    """Interface of a level of a codec, whose codes are `hop` samples long; see `helicon.vqvae.audio_codec`."""

    @property
    def hop(self) -> int: ...
    @property
    def codebook_size(self) -> int: ...
    def encode_many(self, sounds: Sequence[Tensor]) -> list[Tensor]: ...  # [C, S] each -> int64 [T] each
    def decode_many(self, codes: Sequence[Tensor]) -> list[Tensor]: ...  # int64 [T] each -> [C, T * hop] each


class SoundCodec(Protocol):
    """Interface of an audio codec: its levels, the finest first."""

    @property
    def levels(self) -> Sized: ...
    def level(self, number: int) -> CodeLevel: ...


class SoundCodesTokenizer(CodecTokenizer[Sound]):
    """Tokenizer of sounds to the codes of one level, one for each `hop` samples of all channels.

    The codes of a sound do not depend on the others of its batch, except for rounding. An incomplete last hop is padded
    with silence. ValueError for sounds of another rate or number of channels.

    Args:
        codec: with the level.
        level: 0 is the finest, -1 the top.
        sample_rate: samples a second.
        channels: of the sounds.
        config: JSON-able config of the codec, with the fingerprint of its weights.
        weights: of the codec, stored with every model that uses its codes.
        block: name of the token block.
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
        """Return the tokenizer of a level of the same codec, for another slot.

        Args:
            level: 0 is the finest, -1 the top.
            block: name of the token block, which is the slot's.

        Returns:
            A tokenizer that shares the codec.

        Raises:
            ValueError: there is no such level.
        """
        return SoundCodesTokenizer(
            self.codec, level, self.sample_rate, self.channels, self._config, self._weights, block
        )  # fmt: skip

    @property
    def _net(self) -> CodeLevel:
        return self.codec.level(self.level)

    def encode_many(self, media: Sequence[Sound]) -> list[np.ndarray]:
        """Encode `Sound`s to the level's codes, an int64 array [T] each, in batches on the codec's device."""
        sounds = [check_sound(sound, self.sample_rate, self.channels).samples for sound in media]
        tensors = [torch.from_numpy(np.require(x_SC.T, requirements="W")) for x_SC in sounds]
        return [codes.numpy() for codes in self._net.encode_many(tensors)]

    def decode_many(self, ids: Sequence[np.ndarray]) -> list[Sound]:
        """Decode int64 arrays [T] of the level's codes to a `Sound` each, in batches on the codec's device."""
        codes = [torch.from_numpy(check_ids(local, len(self.block))) for local in ids]
        sounds = self._net.decode_many(codes)
        return [Sound(np.ascontiguousarray(sound.numpy().T), self.sample_rate) for sound in sounds]

    def units(self, ids: np.ndarray) -> dict[str, float]:
        """Count the units in which a loss on codes NumPy int64 [T] is reported: {"second": ...}."""
        return {"second": len(ids) / self.rate}

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able dict for users: the codec's, and `level`, `hop` in samples, `rate` and `channels`."""
        return {**super().describe(), "level": self.level, "hop": self.hop, **self.read_options}

    def state(self) -> dict[str, Any]:
        """Return the state without the weights, a JSON-able dict: that of `CodecTokenizer`, and `level`."""
        return {**super().state(), "level": self.level}
