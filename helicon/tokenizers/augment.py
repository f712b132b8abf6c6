"""Variations of a piece: transposed, louder or softer, faster or slower."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Augmentation:
    """What is done to a piece.

    transpose: semitones, drums excepted. volume: steps of an instrument's own volumes. tempo: a factor, 2 halves times.
    """

    transpose: int = 0
    volume: int = 0
    tempo: float = 1.0


def draw_augmentation(
    rng: np.random.Generator,
    transpose: tuple[int, int] = (-5, 6),
    volume: tuple[int, int] = (-1, 1),
    tempo: tuple[float, float] = (0.9, 1.1),
) -> Augmentation:
    """An augmentation drawn uniformly from ranges, ends included; a range of one value switches that part of it off."""
    return Augmentation(
        int(rng.integers(transpose[0], transpose[1] + 1)),
        int(rng.integers(volume[0], volume[1] + 1)),
        float(rng.uniform(*tempo)),
    )
