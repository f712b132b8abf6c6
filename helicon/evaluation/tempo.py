"""Tempo estimation from onsets alone, by autocorrelation.

Shapes: L lags in units of 10 ms, P periods tried.
"""

from __future__ import annotations

import numpy as np

from helicon.formats.score import Score

UNITS_PER_SECOND = 100  # resolution of onsets: 10 ms
BEATS = 8  # beats over which a period must hold: more are more precise, fewer tolerate an uneven tempo
MAX_FACTOR = 1.18  # periods within this factor are tried; at 5/4 and 4/5 of a beat sixteenths recur too
PERIOD_STEP = 0.002  # between the logarithms of the periods tried
SPREAD_UNITS = 2.0  # standard deviation of the Gaussian that smooths onsets, in units of 10 ms


def estimate_tempo(score: Score, near_bpm: float) -> float | None:
    """Estimate the tempo at which onsets recur best, within a factor MAX_FACTOR of a known one, octaves aside.

    Multiples and parts of a beat recur with it, so onsets cannot tell which of them is the beat; `near_bpm` decides.

    Args:
        score: `Score` whose onsets are used; drums count too.
        near_bpm: tempo to search around, in quarter notes a minute.

    Returns:
        Quarter notes a minute; None when there are too few onsets.
    """
    count = round(np.log(MAX_FACTOR) / PERIOD_STEP)
    periods_P = UNITS_PER_SECOND * 60 / near_bpm * np.exp(np.arange(-count, count + 1) * PERIOD_STEP)
    similar_L = _autocorrelation(score, int(periods_P[-1] * BEATS) + 2)
    if similar_L is None:
        return None
    lags = periods_P[:, None] * np.arange(1, BEATS + 1)
    strength_P = np.interp(lags, np.arange(len(similar_L)), similar_L).mean(1)
    best = int(strength_P.argmax())
    return float(60 * UNITS_PER_SECOND / periods_P[best])


def _autocorrelation(score: Score, longest: int) -> np.ndarray | None:
    """Compute the autocorrelation [L] of smoothed onsets, each lag over the time left to compare, lag 0 scaled to 1."""
    onset_N = np.round(score.onset_s * UNITS_PER_SECOND).astype(np.int64)
    if len(np.unique(onset_N)) < 8 or onset_N.max() - onset_N.min() < 2 * longest / BEATS:
        return None
    onset_N = onset_N - onset_N.min()
    # Square root: a chord counts for more than a note, but less than its notes one by one
    onsets = np.sqrt(np.bincount(onset_N).astype(np.float64))
    size = len(onsets) + longest
    spectrum = np.fft.rfft(onsets, 2 * size)
    rate = np.fft.rfftfreq(2 * size)
    smooth = np.exp(-((2 * np.pi * rate * SPREAD_UNITS) ** 2))  # power spectrum of the smoothing Gaussian
    raw = np.fft.irfft(np.abs(spectrum) ** 2 * smooth, 2 * size)[:longest]
    left = len(onsets) - np.arange(longest)
    similar = np.where(left > len(onsets) / 8, raw / np.maximum(left, 1), 0.0)
    return similar / max(similar[0], 1e-12)
