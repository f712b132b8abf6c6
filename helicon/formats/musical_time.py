"""Conversion of score ticks to seconds and bars, by tempos and metres.

Columns of tempos: tick, track, microseconds a quarter. Of metres: tick, track, numerator, power of two of the
denominator, MIDI clocks a click, 32nd notes a quarter.
"""

from __future__ import annotations

import numpy as np

DEFAULT_TEMPO_US = 500_000  # microseconds a quarter: 120 quarters a minute, by the standard
MAX_TEMPO_US = 0xFFFFFF  # microseconds a quarter, in 24 bits
QUARTER = 4  # of a whole note, which a metre's denominator divides


class TempoMap:
    """Conversion of ticks to seconds and back."""

    def __init__(self, tempos: np.ndarray, ticks_per_quarter: int) -> None:
        """Build the map from the tempos of all tracks.

        Args:
            tempos: int64 [n, 3] in any order; the last one at a tick holds.
            ticks_per_quarter: ticks of a quarter note.
        """
        order = np.argsort(tempos[:, 0], kind="stable")
        self._tick = np.concatenate([[0], tempos[order, 0]])
        self._tick_s = np.concatenate([[DEFAULT_TEMPO_US], tempos[order, 2]]) / 1e6 / ticks_per_quarter
        self._at_s = np.concatenate([[0.0], np.cumsum(np.diff(self._tick) * self._tick_s[:-1])])

    def seconds(self, ticks: np.ndarray | int) -> np.ndarray:
        """Return the times in seconds of ticks (int or int array), float64 of the same shape."""
        if len(self._tick) == 2 and not self._tick[1]:  # one tempo throughout
            return ticks * self._tick_s[1]
        i = np.searchsorted(self._tick, ticks, side="right") - 1
        return self._at_s[i] + (ticks - self._tick[i]) * self._tick_s[i]

    def ticks(self, seconds: np.ndarray | float) -> np.ndarray:
        """Return the ticks nearest to times in seconds (float or float array), int64 of the same shape."""
        i = np.searchsorted(self._at_s, seconds, side="right") - 1
        return self._tick[i] + np.rint((seconds - self._at_s[i]) / self._tick_s[i]).astype(np.int64)


def bars(ticks: np.ndarray, metres: np.ndarray, ticks_per_quarter: int) -> np.ndarray:
    """Number the bar of each tick from 0; a metre begins a new bar, and 4/4 holds before the first metre.

    Args:
        ticks: NumPy int64 [N], N times in ticks.
        metres: NumPy int64 [n, 6], n rows of `Score.metres` in any order; the last one at a tick holds.
        ticks_per_quarter: ticks of a quarter note.

    Returns:
        NumPy int64 [N], number of the bar of each tick.
    """
    metres = metres[np.argsort(metres[:, 0], kind="stable")]
    start = np.concatenate([[0], metres[:, 0]])
    numerator, power = (np.concatenate([[first], metres[:, i]]) for i, first in ((2, QUARTER), (3, 2)))
    parts, denominator = numerator * QUARTER * ticks_per_quarter, 2**power  # a bar has parts / denominator ticks
    before = np.concatenate([[0], np.cumsum(-(-np.diff(start) * denominator[:-1] // parts[:-1]))])
    i = np.searchsorted(start, ticks, side="right") - 1
    return before[i] + (ticks - start[i]) * denominator[i] // parts[i]
