"""Shared by tokenizers of sound: the check of a sound, its samples in a row, and a token for each of them.

Shapes: S samples, C channels.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from helicon.formats.audio import MOST_CHANNELS, MOST_RATE, Sound
from helicon.formats.checked import fields, text, whole
from helicon.sequence.vocabulary import TokenBlock
from helicon.tokenizers.abilities import AugmentedByMedia
from helicon.tokenizers.timing import TimeAutomaton

RATE = 8000  # samples a second, unless told
CHANNELS = 1


class SampleTokenizer(AugmentedByMedia[Sound]):
    """A token for each sample, the channels of each moment in turn."""

    values: range  # that a sample can have, of which the first is id 0

    def __init__(self, rate: int = RATE, channels: int = CHANNELS, block: str = "audio") -> None:
        self.sample_rate, self.channels = rate, channels
        self.rate = float(rate * channels)  # tokens a second
        self.block = TokenBlock(block, tuple(map(str, self.values)))
        self.automaton = TimeAutomaton(len(self.values), self.rate)
        self.read_options = {"rate": rate, "channels": channels}

    def _samples(self, sound: Sound) -> np.ndarray:
        """float32 [S * C]; ValueError for a sound of another rate or channels."""
        return check_sound(sound, self.sample_rate, self.channels).samples.ravel()

    def units(self, ids: np.ndarray) -> dict[str, float]:
        """Seconds, and numbers that a sound is made of."""
        return {"second": len(ids) / self.rate, "dimension": float(len(ids))}

    def describe(self) -> dict[str, Any]:
        """For people: how its sounds are sampled."""
        return {"values": len(self.values), **self.read_options}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """Inverse of `state`; ValueError for what cannot be one."""
        state = fields("state", state, ("block", "rate", "channels"))  # type: ignore[assignment]
        channels = whole("channels", state["channels"], 1, MOST_CHANNELS)
        return cls(whole("rate", state["rate"], 1, MOST_RATE), channels, text("block", state["block"]))


def check_sound(sound: Sound, rate: int, channels: int) -> Sound:
    """The sound; ValueError unless it has that rate and that many channels, and every sample is a number."""
    if (sound.rate, sound.channels) != (rate, channels):
        found = f"{sound.rate} Hz in {sound.channels} channels"
        raise ValueError(f"a sound of {found}: {rate} Hz in {channels} is accepted")
    if not np.isfinite(sound.samples).all():
        raise ValueError("a sound with samples that are no finite numbers")
    return sound


def sound_of(values: np.ndarray, rate: int, channels: int) -> Sound:
    """Sound of values in a row, the channels of each moment in turn; what is missing of the last moment is silent."""
    samples = np.zeros((-(-len(values) // channels), channels), np.float32)
    samples.reshape(-1)[: len(values)] = values
    return Sound(samples, rate)
