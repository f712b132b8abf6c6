"""Data augmentation: configured ranges, and the augmentation that is drawn from them for an example.

Here that of music: transposition, volume and tempo.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from helicon.formats.checked import number, sequence, shown


class AugmentationRanges(ABC):
    """Ranges [LEAST, MOST] of the random augmentations of a medium, by name, as in `--data.changes`.

    A frozen dataclass whose fields have defaults and are checked as it is made.
    """

    @property
    def idle(self) -> bool:
        """True if no example is ever changed, so that media need not be decoded."""
        return False

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Any:
        """Draw the augmentation of an example, uniformly; a range of a single neutral value switches a part off.

        Args:
            rng: NumPy generator.

        Returns:
            An augmentation of the medium, such as `Augmentation`, with a number or flag for each range.
        """


def check_range(name: str, value: Any, low: float, high: float, integers: bool = False) -> None:
    """Check that a value is a range: two numbers in ascending order.

    Args:
        name: of the option, for the message.
        value: to be checked, of any type.
        low: least number that is accepted.
        high: largest number that is accepted.
        integers: accept numbers without a fraction only.

    Raises:
        ValueError: it is no such range.
    """
    try:
        least, most = (number(name, end, low, high) for end in sequence(name, value, 2))
    except ValueError:
        least, most = 1, 0
    if least > most or (integers and (least % 1 or most % 1)):
        numbers = "whole numbers" if integers else "numbers"
        accepted = f"[LEAST, MOST], two {numbers} from {low:g} to {high:g}, is accepted"
        raise ValueError(f"{name} {shown(value)}: {accepted}")


@dataclass(frozen=True)
class Augmentation:
    """Augmentation of a piece of music.

    Attributes:
        transpose: semitones; drums are not transposed.
        volume: steps along the volumes of each instrument.
        tempo: factor; 2 halves all times.
    """

    transpose: int = 0
    volume: int = 0
    tempo: float = 1.0


@dataclass(frozen=True)
class MusicRanges(AugmentationRanges):
    """Ranges of transposition in semitones, of volume in steps, and of tempo as a factor."""

    transpose: Sequence[float] = (-5, 6)
    volume: Sequence[float] = (-1, 1)
    tempo: Sequence[float] = (0.9, 1.1)

    def __post_init__(self) -> None:
        check_range("transpose", self.transpose, -127, 127, integers=True)
        check_range("volume", self.volume, -127, 127, integers=True)
        check_range("tempo", self.tempo, 0.1, 10)

    def draw(self, rng: np.random.Generator) -> Augmentation:
        """Draw an `Augmentation` from a NumPy generator.

        Semitones and steps are whole, the ends of the ranges included; the tempo is any factor of its range.
        """
        (lowest, highest), (softest, loudest) = (map(int, ends) for ends in (self.transpose, self.volume))
        return Augmentation(
            int(rng.integers(lowest, highest + 1)),
            int(rng.integers(softest, loudest + 1)),
            float(rng.uniform(self.tempo[0], self.tempo[1])),
        )
