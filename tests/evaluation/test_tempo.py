"""The tempo estimator against scores whose tempo is known."""

from __future__ import annotations

import numpy as np
import pytest

from helicon.evaluation.tempo import estimate_tempo
from helicon.formats.score import Score


def clicks(onsets_s: np.ndarray) -> Score:
    """A short note at each onset."""
    count = len(onsets_s)
    return Score.of(onsets_s, onsets_s + 0.05, [60] * count, [80] * count, [0] * count)


@pytest.mark.parametrize("bpm", [47.0, 60.0, 90.0, 101.3, 120.0, 168.0, 233.0])
@pytest.mark.parametrize("parts", [1, 2, 3, 4])
def test_a_metronome_is_heard_exactly(bpm: float, parts: int) -> None:
    onsets = np.arange(0, 24, 60 / bpm / parts)
    assert estimate_tempo(clicks(onsets), near_bpm=bpm) == pytest.approx(bpm, rel=0.004)


@pytest.mark.parametrize("asked", [80.0, 95.0, 100.0])
def test_what_was_asked_is_not_what_is_heard(asked: float) -> None:
    assert estimate_tempo(clicks(np.arange(0, 24, 60 / 90)), near_bpm=asked) == pytest.approx(90, rel=0.004)


def test_the_octave_is_taken_from_what_was_asked() -> None:
    onsets = clicks(np.arange(0, 24, 60 / 90))
    assert estimate_tempo(onsets, near_bpm=45) == pytest.approx(45, rel=0.004)
    assert estimate_tempo(onsets, near_bpm=180) == pytest.approx(180, rel=0.004)


def test_a_player_who_is_not_exact() -> None:
    rng = np.random.default_rng(0)
    beats = np.arange(0, 24, 60 / 76)
    onsets = np.abs(beats + rng.normal(0, 0.012, len(beats)))
    assert estimate_tempo(clicks(onsets), near_bpm=80) == pytest.approx(76, rel=0.01)


def test_a_missed_beat_and_chords_do_not_matter() -> None:
    beats = np.delete(np.arange(0, 24, 60 / 132), [5, 9, 10, 22])
    assert estimate_tempo(clicks(np.concatenate([beats, beats[::2]])), near_bpm=130) == pytest.approx(132, rel=0.004)


def test_too_little_to_hear() -> None:
    assert estimate_tempo(clicks(np.zeros(0)), near_bpm=120) is None
    assert estimate_tempo(clicks(np.zeros(30)), near_bpm=120) is None
    assert estimate_tempo(clicks(np.arange(0, 2, 0.5)), near_bpm=120) is None
