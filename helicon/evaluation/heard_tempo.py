"""The tempo heard in a score, from its onsets alone.

Shapes: L lags in units of 10 ms, P periods tried.
"""

from __future__ import annotations

import numpy as np

from helicon.formats.score import Score

UNITS_PER_SECOND = 100
BEATS = 8  # beats over which a period must hold: many make it precise, yet a tempo that sways must still be found
NEAR = 1.18  # periods within this factor are tried: 5/4 and 4/5 of a beat are sixteenths as well
STEP = 0.002  # between periods tried, as a share
SPREAD_UNITS = 2.0  # standard deviation of an onset's smoothing


def heard_tempo(score: Score, near_bpm: float) -> float | None:
    """Quarters a minute near `near_bpm` at which the onsets recur best; None when there is too little to hear.

    A beat's multiples and parts recur with it, so one octave of tempos stands for all: which of them is the beat
    cannot be heard, and is taken from `near_bpm`.
    """
    count = round(np.log(NEAR) / STEP)
    periods_P = UNITS_PER_SECOND * 60 / near_bpm * np.exp(np.arange(-count, count + 1) * STEP)
    similar_L = _autocorrelation(score, int(periods_P[-1] * BEATS) + 2)
    if similar_L is None:
        return None
    lags = periods_P[:, None] * np.arange(1, BEATS + 1)
    strength_P = np.interp(lags, np.arange(len(similar_L)), similar_L).mean(1)
    best = int(strength_P.argmax())
    return float(60 * UNITS_PER_SECOND / periods_P[best])


def _autocorrelation(score: Score, longest: int) -> np.ndarray | None:
    """[L]: how alike the onsets are to themselves later, each lag by the time that is left to compare."""
    at = np.round(score.onset_s * UNITS_PER_SECOND).astype(np.int64)
    if len(np.unique(at)) < 8 or at.max() - at.min() < 2 * longest / BEATS:
        return None
    at = at - at.min()
    # A chord counts for more than a note, though not for as much as its notes apart
    onsets = np.sqrt(np.bincount(at).astype(np.float64))
    size = len(onsets) + longest
    spectrum = np.fft.rfft(onsets, 2 * size)
    rate = np.fft.rfftfreq(2 * size)
    smooth = np.exp(-((2 * np.pi * rate * SPREAD_UNITS) ** 2))  # a Gaussian's own transform, squared
    raw = np.fft.irfft(np.abs(spectrum) ** 2 * smooth, 2 * size)[:longest]
    left = len(onsets) - np.arange(longest)
    similar = np.where(left > len(onsets) / 8, raw / np.maximum(left, 1), 0.0)
    return similar / max(similar[0], 1e-12)
