"""Base class of tokenizers with one token for each sample of a sound, and checks shared by tokenizers of sound.

Shapes: S samples, C channels.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from helicon.formats.audio import MAX_CHANNELS, MAX_RATE, Sound
from helicon.formats.checked import fields, integer, text
from helicon.sequence.vocabulary import TokenBlock
from helicon.tokenizers.abilities import AugmentedByMedia
from helicon.tokenizers.timing import TimeAutomaton

RATE = 8000  # samples a second, by default
CHANNELS = 1  # mono, by default


class SampleTokenizer(AugmentedByMedia[Sound]):
    """Tokenizer with one token for each sample, channels interleaved."""

    values: range  # values of a sample; the first has id 0

    def __init__(self, rate: int = RATE, channels: int = CHANNELS, block: str = "audio") -> None:
        self.sample_rate, self.channels = rate, channels
        self.rate = float(rate * channels)  # tokens a second
        self.block = TokenBlock(block, tuple(map(str, self.values)))
        self.automaton = TimeAutomaton(len(self.values), self.rate)
        self.read_options = {"rate": rate, "channels": channels}

    def _samples(self, sound: Sound) -> np.ndarray:
        """Interleave the channels of a sound to float32 [S * C]; ValueError for another rate or channels."""
        return check_sound(sound, self.sample_rate, self.channels).samples.ravel()

    def units(self, ids: np.ndarray) -> dict[str, float]:
        """Count the units in which a loss on local ids NumPy int64 [T] is reported: {"second": ..., "dimension": T}.

        Dimensions are samples of all channels.
        """
        return {"second": len(ids) / self.rate, "dimension": float(len(ids))}

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able dict for users: `values`, their number, `rate`, samples a second, and `channels`."""
        return {"values": len(self.values), **self.read_options}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Restore a tokenizer from the dict that `state` returns; ValueError for anything else."""
        state = fields("state", state, ("block", "rate", "channels"))  # type: ignore[assignment]
        channels = integer("channels", state["channels"], 1, MAX_CHANNELS)
        return cls(integer("rate", state["rate"], 1, MAX_RATE), channels, text("block", state["block"]))


def check_sound(sound: Sound, rate: int, channels: int) -> Sound:
    """Check the format of a sound.

    Args:
        sound: `Sound` to be checked.
        rate: samples a second.
        channels: number of channels.

    Returns:
        The sound, unchanged.

    Raises:
        ValueError: another rate or number of channels, or samples that are not finite.
    """
    if (sound.rate, sound.channels) != (rate, channels):
        actual = f"{sound.rate} Hz in {sound.channels} channels"
        raise ValueError(f"a sound of {actual}: {rate} Hz in {channels} is accepted")
    if not np.isfinite(sound.samples).all():
        raise ValueError("a sound with samples that are no finite numbers")
    return sound


def sound_of(values: np.ndarray, rate: int, channels: int) -> Sound:
    """Make a sound of interleaved values.

    Args:
        values: N values, [N] in [-1, 1], channels interleaved.
        rate: samples a second.
        channels: number of channels.

    Returns:
        `Sound`, the last sample padded with silence in channels that have no value.
    """
    samples = np.zeros((-(-len(values) // channels), channels), np.float32)
    samples.reshape(-1)[: len(values)] = values
    return Sound(samples, rate)
