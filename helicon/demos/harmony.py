"""Keys, chords, progressions and four-part voice leading.

Shapes: M voicings of a chord, 4 voices: bass, tenor, alto, soprano. Pitches are MIDI notes, pitch classes 0 (C) - 11.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

# Of pitch classes 0 .. 11
_NAMES = ("C", "C sharp", "D", "E flat", "E", "F", "F sharp", "G", "A flat", "A", "B flat", "B")
# Semitones of the degrees of a scale above its tonic
_MAJOR, _MINOR, _HARMONIC_MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 3, 5, 7, 8, 11)
TONIC, SUPERTONIC, MEDIANT, SUBDOMINANT, DOMINANT, SUBMEDIANT = range(6)

_FOLLOWS = {  # which chords may come after a chord; listed twice, twice as likely
    TONIC: (SUBDOMINANT, SUBDOMINANT, DOMINANT, DOMINANT, SUBMEDIANT, SUPERTONIC, TONIC),
    SUPERTONIC: (DOMINANT,),
    MEDIANT: (SUBMEDIANT, SUBDOMINANT),
    SUBDOMINANT: (DOMINANT, DOMINANT, TONIC, SUPERTONIC),
    DOMINANT: (TONIC, TONIC, SUBMEDIANT),
    SUBMEDIANT: (SUBDOMINANT, SUPERTONIC, MEDIANT, DOMINANT),
}
_RANGES = ((38, 57), (50, 67), (57, 74), (62, 81))  # lowest and highest note of each voice


@dataclass(frozen=True)
class MusicalKey:
    """Major or minor key.

    Attributes:
        tonic: pitch class, 0 (C) to 11.
        minor: True for minor.
    """

    tonic: int
    minor: bool

    @property
    def name(self) -> str:
        return f"{_NAMES[self.tonic]} {'minor' if self.minor else 'major'}"

    def scale(self, degree: int) -> tuple[int, ...]:
        """Return the pitch classes 0 (C) .. 11, from the tonic up, of the scale under the chord on a degree 0 .. 5.

        In minor the dominant raises the seventh of the scale (harmonic minor), so that it leads to the tonic.
        """
        steps = _MAJOR if not self.minor else _HARMONIC_MINOR if degree == DOMINANT else _MINOR
        return tuple((self.tonic + step) % 12 for step in steps)

    def chord(self, degree: int) -> tuple[int, int, int]:
        """Return the pitch classes 0 (C) .. 11 of the triad on a degree 0 (tonic) .. 5: root, third, fifth."""
        scale = self.scale(degree)
        return scale[degree], scale[(degree + 2) % 7], scale[(degree + 4) % 7]


def progression(
    key: MusicalKey, starts: Sequence[int], length: int, then: Sequence[int], rng: random.Random
) -> list[int]:
    """Draw a chord progression from all that the rules allow.

    Args:
        key: `MusicalKey`; its supertonic is left out if it is minor.
        starts: degrees, 0 (tonic) .. 5, that the first chord may have.
        length: number of chords.
        then: degrees all of which must be able to follow the last chord.
        rng: generator of Python's `random`.

    Returns:
        Degrees of the `length` chords.

    Raises:
        ValueError: there is no such progression.
    """
    paths = [[start] for start in starts]
    for _ in range(length - 1):
        paths = [[*path, degree] for path in paths for degree in _FOLLOWS[path[-1]] if _is_used(key, degree)]
    paths = [path for path in paths if all(degree in _FOLLOWS[path[-1]] for degree in then)]
    if not paths:
        raise ValueError(f"no {length} chords lead from {starts} to {then} in {key.name}")
    return rng.choice(paths)


def _is_used(key: MusicalKey, degree: int) -> bool:
    """Return True but for the supertonic of a minor key, a diminished chord."""
    return not (key.minor and degree == SUPERTONIC)


def lead(
    key: MusicalKey,
    degrees: Sequence[int],
    contour: Sequence[float],
    rng: random.Random,
    before: np.ndarray | None = None,
) -> np.ndarray:
    """Lead four voices through chords at the least total cost, by dynamic programming over all voicings.

    Args:
        key: `MusicalKey` of the chords.
        degrees: of the chords, 0 (tonic) .. 5.
        contour: MIDI pitch that the soprano should be near to, at each chord.
        rng: generator of Python's `random`; adds noise to the costs, so that equal harmony need not sound equal.
        before: MIDI pitches NumPy int [4] of the voices that sound just before; None at the beginning.

    Returns:
        MIDI pitches NumPy int [chords, 4] of bass, tenor, alto and soprano.
    """
    voicings, costs, parents = [], [], []
    for degree, wish in zip(degrees, contour):
        voicings_M4 = _voicings(key, degree)
        cost_M = _standing_cost(voicings_M4, key.chord(degree), wish)
        cost_M = cost_M + [2.0 * rng.random() for _ in cost_M]  # so that equal harmony need not sound equal
        previous_M4 = voicings[-1] if voicings else before[None] if before is not None else None
        if previous_M4 is not None:
            through_MM = _moving_cost(previous_M4, voicings_M4) + (costs[-1][:, None] if voicings else 0.0)
            parents.append(through_MM.argmin(0))
            cost_M = cost_M + through_MM.min(0)
        voicings.append(voicings_M4)
        costs.append(cost_M)
    best = int(costs[-1].argmin())
    led = [voicings[-1][best]]
    for i in range(len(voicings) - 1, 0, -1):
        best = int(parents[i if before is not None else i - 1][best])
        led.append(voicings[i - 1][best])
    return np.array(led[::-1])


@cache
def _voicings(key: MusicalKey, degree: int) -> np.ndarray:
    """Return ascending voices within their ranges, int [M, 4], of a whole triad with its root or third in the bass."""
    root, third, fifth = key.chord(degree)
    leading = (key.tonic + 11) % 12
    notes = [[p for p in range(low, high + 1) if p % 12 in (root, third, fifth)] for low, high in _RANGES]
    notes[0] = [p for p in notes[0] if p % 12 != fifth]
    voicings = [
        voices
        for voices in itertools.product(*notes)
        if voices[0] + 2 < voices[1] < voices[2] < voices[3]
        and voices[2] - voices[1] <= 12
        and voices[3] - voices[2] <= 12
        and {p % 12 for p in voices} == {root, third, fifth}
        and [p % 12 for p in voices].count(leading) < 2
    ]
    return np.array(voicings)


def _standing_cost(voicings_M4: np.ndarray, chord: tuple[int, int, int], wish: float) -> np.ndarray:
    """Return costs of voicings, float [M]: distance from the wished soprano, inversion, doubled third."""
    third_M4 = voicings_M4 % 12 == chord[1]
    return 1.2 * np.abs(voicings_M4[:, 3] - wish) + 3.0 * third_M4[:, 0] + 2.0 * (third_M4.sum(1) > 1)


def _moving_cost(before_M4: np.ndarray, after_N4: np.ndarray) -> np.ndarray:
    """Return costs of voice leading, float [M, N]: leaps, parallel fifths and octaves, a repeated soprano."""
    moved_MN4 = after_N4[None] - before_M4[:, None]
    leaps_MN4 = np.abs(moved_MN4)
    cost_MN = leaps_MN4 @ np.array([0.3, 1.0, 1.0, 0.6]) + 0.5 * np.maximum(leaps_MN4[..., 3] - 4, 0) ** 2
    cost_MN = cost_MN + 1.5 * (moved_MN4[..., 3] == 0) + 4.0 * (leaps_MN4[..., 0] > 9)
    for low, high in itertools.combinations(range(4), 2):
        open_M = np.isin((before_M4[:, high] - before_M4[:, low]) % 12, (0, 7))
        together_MN = (moved_MN4[..., low] == moved_MN4[..., high]) & (moved_MN4[..., low] != 0)
        cost_MN = cost_MN + 40.0 * (open_M[:, None] & together_MN)
    return cost_MN
