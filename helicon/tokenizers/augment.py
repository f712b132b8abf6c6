"""Random changes of media in training: ranges are what is asked for, an augmentation is what one example gets.

Pieces of music are transposed, made louder or softer, faster or slower.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from helicon.formats.checked import number, sequence, shown


class AugmentationRanges(ABC):
    """Ranges [LEAST, MOST] of the random changes of a medium, by name, as `--data.changes` gives them.

    A frozen dataclass whose fields have defaults and are checked as it is made.
    """

    @property
    def idle(self) -> bool:
        """Whether nothing is ever changed, so that media need not be looked at."""
        return False

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Any:
        """An augmentation for one example, drawn uniformly; a range of one value switches that part of it off."""


def check_range(name: str, value: Any, low: float, high: float, whole: bool = False) -> None:
    """ValueError unless a value is two numbers from `low` to `high`, the lesser first. whole: without a fraction."""
    try:
        least, most = (number(name, each, low, high) for each in sequence(name, value, 2))
    except ValueError:
        least, most = 1, 0
    if least > most or (whole and (least % 1 or most % 1)):
        numbers = "whole numbers" if whole else "numbers"
        accepted = f"[LEAST, MOST], two {numbers} from {low:g} to {high:g}, is accepted"
        raise ValueError(f"{name} {shown(value)}: {accepted}")


@dataclass(frozen=True)
class Augmentation:
    """What is done to a piece.

    transpose: semitones, drums excepted. volume: steps of an instrument's own volumes. tempo: a factor, 2 halves times.
    """

    transpose: int = 0
    volume: int = 0
    tempo: float = 1.0


@dataclass(frozen=True)
class MusicRanges(AugmentationRanges):
    """Ranges of transposition in semitones, of steps of volume, and of tempo as a factor."""

    transpose: Sequence[float] = (-5, 6)
    volume: Sequence[float] = (-1, 1)
    tempo: Sequence[float] = (0.9, 1.1)

    def __post_init__(self) -> None:
        check_range("transpose", self.transpose, -127, 127, whole=True)
        check_range("volume", self.volume, -127, 127, whole=True)
        check_range("tempo", self.tempo, 0.1, 10)

    def draw(self, rng: np.random.Generator) -> Augmentation:
        """Whole semitones and steps, ends included."""
        (lowest, highest), (softest, loudest) = (map(int, ends) for ends in (self.transpose, self.volume))
        return Augmentation(
            int(rng.integers(lowest, highest + 1)),
            int(rng.integers(softest, loudest + 1)),
            float(rng.uniform(self.tempo[0], self.tempo[1])),
        )
