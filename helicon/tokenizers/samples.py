"""What the tokenizers of sound share: the check of a sound, and its samples in a row.

Shapes: S samples, C channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from helicon.formats.audio import MOST_CHANNELS, MOST_RATE, Sound
from helicon.formats.checked import fields, text, whole


def sampling_of_state(state: Any) -> tuple[int, int, str]:
    """Rate, channels and name of the block, of a tokenizer's state; ValueError for what cannot be these."""
    state = fields("state", state, ("block", "rate", "channels"))
    rate, channels = whole("rate", state["rate"], 1, MOST_RATE), whole("channels", state["channels"], 1, MOST_CHANNELS)
    return rate, channels, text("block", state["block"])


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
