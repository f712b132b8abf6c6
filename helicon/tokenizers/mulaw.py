"""Sound as samples of 256 levels, as WaveNet (arXiv:1609.03499) and Sparse Transformers (arXiv:1904.10509) model it.

Shapes: S samples, C channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from helicon.formats.audio import Sound
from helicon.sequence.vocabulary import Block
from helicon.tokenizers.base import check_ids
from helicon.tokenizers.samples import check_sound, sound_of
from helicon.tokenizers.timing import TimeAutomaton

LEVELS = 256
MU = LEVELS - 1


class MulawTokenizer:
    """A token for each sample, the channels of each moment in turn; levels lie closer near silence."""

    def __init__(self, sample_rate: int, channels: int = 1, block: str = "audio") -> None:
        self.sample_rate, self.channels = sample_rate, channels
        self.rate = float(sample_rate * channels)  # tokens a second
        self.block = Block(block, tuple(map(str, range(LEVELS))))
        self.reading = {"rate": sample_rate, "channels": channels}
        self.automaton = TimeAutomaton(LEVELS, self.rate)

    def encode(self, media: Sound) -> np.ndarray:
        """int64 [S * C], what is beyond -1 .. 1 as the outermost level; ValueError for another rate or channels."""
        samples = check_sound(media, self.sample_rate, self.channels).samples.astype(np.float64).ravel()
        return np.rint((compressed(samples.clip(-1, 1)) + 1) / 2 * MU).astype(np.int64)

    def decode(self, ids: np.ndarray) -> Sound:
        """Sound of any ids; ValueError for ids outside the block."""
        levels = check_ids(ids, LEVELS) / MU * 2 - 1
        return sound_of(expanded(levels), self.sample_rate, self.channels)

    def units(self, ids: np.ndarray) -> dict[str, float]:
        """What a loss can be told by."""
        return {"second": len(ids) / self.rate, "dimension": float(len(ids))}

    def describe(self) -> dict[str, Any]:
        """For people: how its sounds are sampled."""
        return {"values": LEVELS, **self.reading}

    def state(self) -> dict[str, Any]:
        """JSON-able."""
        return {"block": self.block.name, **self.reading}

    @staticmethod
    def from_state(state: dict[str, Any]) -> MulawTokenizer:
        """Inverse of `state`."""
        return MulawTokenizer(state["rate"], state["channels"], state["block"])


def compressed(samples: np.ndarray) -> np.ndarray:
    """sign(x) ln(1 + mu |x|) / ln(1 + mu), section 2.2 of arXiv:1609.03499: -1 .. 1 to itself."""
    return np.sign(samples) * np.log1p(MU * np.abs(samples)) / np.log1p(MU)


def expanded(levels: np.ndarray) -> np.ndarray:
    """Inverse of `compressed`."""
    return np.sign(levels) * np.expm1(np.abs(levels) * np.log1p(MU)) / MU
