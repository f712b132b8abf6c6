"""Sound as it is in a 16-bit file: a token for each of 65,536 values. What a codec is trained on is kept so.

Shapes: S samples, C channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from helicon.formats.audio import Sound
from helicon.sequence.vocabulary import Block
from helicon.tokenizers.base import check_ids
from helicon.tokenizers.samples import check_sound, sampling_of_state, sound_of
from helicon.tokenizers.timing import TimeAutomaton

VALUES = 1 << 16
SILENT = VALUES // 2  # the id of 0


class PcmTokenizer:
    """A token for each sample, the channels of each moment in turn: the 16-bit value plus 32,768."""

    def __init__(self, sample_rate: int, channels: int = 1, block: str = "audio") -> None:
        self.sample_rate, self.channels = sample_rate, channels
        self.rate = float(sample_rate * channels)  # tokens a second
        self.block = Block(block, tuple(map(str, range(-SILENT, SILENT))))
        self.reading = {"rate": sample_rate, "channels": channels}
        self.automaton = TimeAutomaton(VALUES, self.rate)

    def encode(self, media: Sound) -> np.ndarray:
        """int64 [S * C], what is beyond 16 bits as the outermost value; ValueError for another rate or channels."""
        samples = check_sound(media, self.sample_rate, self.channels).samples.ravel()
        values = np.rint(samples.astype(np.float64) * SILENT).clip(-SILENT, SILENT - 1)
        return values.astype(np.int64) + SILENT

    def decode(self, ids: np.ndarray) -> Sound:
        """Sound of any ids; ValueError for ids outside the block."""
        return sound_of((check_ids(ids, VALUES) - SILENT) / SILENT, self.sample_rate, self.channels)

    def units(self, ids: np.ndarray) -> dict[str, float]:
        """What a loss can be told by."""
        return {"second": len(ids) / self.rate, "dimension": float(len(ids))}

    def describe(self) -> dict[str, Any]:
        """For people: how its sounds are sampled."""
        return {"values": VALUES, **self.reading}

    def state(self) -> dict[str, Any]:
        """JSON-able."""
        return {"block": self.block.name, **self.reading}

    @staticmethod
    def from_state(state: dict[str, Any]) -> PcmTokenizer:
        """Inverse of `state`."""
        return PcmTokenizer(*sampling_of_state(state))
