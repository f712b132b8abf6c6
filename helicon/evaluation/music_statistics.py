"""Statistics of a few seconds of music, features for a classifier of composers."""

from __future__ import annotations

import numpy as np

from helicon.formats.score import DRUMS, Score

# Probe-tone ratings of the twelve pitch classes above the tonic (Krumhansl & Kessler, Psychological Review 89, 1982)
MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])
CHORD_S = 0.03  # seconds; onsets this close sound as one chord, also when played by hand
# Between the bins of durations and gaps, about evenly in log time
SECONDS_EDGES = (0.06, 0.1, 0.15, 0.22, 0.33, 0.5, 0.8, 1.3, 2.5)
VELOCITY_EDGES = (24, 40, 52, 64, 76, 88, 104)  # between the bins of MIDI velocities


def music_statistics(score: Score) -> np.ndarray:
    """Compute features of a `Score`, NumPy float64 [F]; F is the same for every score.

    Totals first, then shares of pitch classes in the key, octaves, intervals of the highest and the lowest voice,
    intervals and sizes of chords, durations, gaps, velocities and instrument families.
    """
    melodic = score.program != DRUMS
    pitch, onset = score.pitch[melodic].astype(np.int64), score.onset_s[melodic]
    held = (score.end_s - score.onset_s)[melodic]
    seconds = max(score.seconds - float(score.onset_s.min()), 1.0) if len(score) else 1.0
    top, bottom, size, gaps = _chords(onset, pitch)
    classes, minor = _in_key(pitch, held)
    family = np.where(score.program == DRUMS, 16, score.program // 8)
    totals = [
        np.log1p(len(pitch) / seconds), np.log1p(np.count_nonzero(~melodic) / seconds), held.sum() / seconds,
        _mean(pitch), _spread(pitch), _mean(score.velocity), _spread(score.velocity), _mean(size), _spread(size),
        _mean(top - bottom), float(minor),
    ]  # fmt: skip
    return np.concatenate([
        totals,
        classes,
        _shares(np.clip(pitch // 12, 1, 8) - 1, 8),
        _shares(np.clip(np.diff(top), -12, 12) + 12, 25),
        _shares(np.clip(np.diff(bottom), -12, 12) + 12, 25),
        _shares((top - bottom)[size > 1] % 12, 12),
        _shares(np.clip(size, 1, 6) - 1, 6),
        _shares(np.digitize(held, SECONDS_EDGES), len(SECONDS_EDGES) + 1),
        _shares(np.digitize(gaps, SECONDS_EDGES), len(SECONDS_EDGES) + 1),
        _shares(np.digitize(score.velocity, VELOCITY_EDGES), len(VELOCITY_EDGES) + 1),
        _shares(family, 17),
    ])  # fmt: skip


def _chords(onset: np.ndarray, pitch: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return highest pitch, lowest pitch and number of notes of each chord or note, and seconds between them."""
    if not len(onset):
        nothing = np.zeros(0, np.int64)
        return nothing, nothing, nothing, np.zeros(0)
    first = np.flatnonzero(np.diff(onset, prepend=-1.0) > CHORD_S)
    first = first if len(first) and first[0] == 0 else np.concatenate([[0], first])
    size = np.diff(first, append=len(onset))
    return np.maximum.reduceat(pitch, first), np.minimum.reduceat(pitch, first), size, np.diff(onset[first])


def _in_key(pitch: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return shares of the pitch classes above the likeliest tonic, weighted by duration, and True for a minor key."""
    weight = np.bincount(pitch % 12, weights=np.minimum(held, 2.0), minlength=12)
    if not weight.sum():
        return weight, False
    weight = weight / weight.sum()
    rotated = np.stack([np.roll(weight, -tonic) for tonic in range(12)])
    fits = np.stack([[np.corrcoef(row, profile)[0, 1] for row in rotated] for profile in (MAJOR, MINOR)])
    mode, tonic = np.unravel_index(np.nan_to_num(fits).argmax(), fits.shape)
    return rotated[tonic], bool(mode)


def _shares(values: np.ndarray, size: int) -> np.ndarray:
    """Return the share [size] of each of the values 0 .. size-1; all 0 for no values."""
    counts = np.bincount(values, minlength=size).astype(np.float64)
    return counts / max(counts.sum(), 1.0)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0


def _spread(values: np.ndarray) -> float:
    return float(values.std()) if len(values) else 0.0
