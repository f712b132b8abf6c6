"""Scores and tables that the tests of music share."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from helicon.formats.score import DRUMS, Score
from helicon.tokenizers.instruments import MUSENET, InstrumentTable, general_midi
from helicon.tokenizers.survey import MusicSurvey

SAMPLE = (
    "bach piano_strings start tempo90 piano:v72:G1 piano:v72:G2 piano:v72:B4 piano:v72:D4 violin:v80:G4 piano:v72:G4 "
    "piano:v72:B5 piano:v72:D5 wait:12 piano:v0:B5 wait:5 piano:v72:D5 wait:12 piano:v0:D5 wait:4 piano:v0:G1 "
    "piano:v0:G2 piano:v0:B4 piano:v0:D4 violin:v0:G4 piano:v0:G4 wait:1 piano:v72:G5 wait:12 piano:v0:G5 wait:5 "
    "piano:v72:D5 wait:12 piano:v0:D5 wait:5 piano:v72:B5 wait:12"
)


def score_of(*notes: tuple[float, float, int, int, int], tempo_bpm: float = 120.0, label: str | None = None) -> Score:
    """Score of (onset s, end s, pitch, velocity, program)."""
    columns = list(zip(*notes)) or [[]] * 5
    return Score.of(*columns, tempo_bpm=tempo_bpm, label=label)


def family_table() -> InstrumentTable:
    """Piano, strings, pipe and drums, of soft to middling volume."""
    score = score_of((0, 1, 60, 40, 1), (0, 1, 60, 70, 40), (0, 1, 60, 90, 73), (0, 1, 36, 64, DRUMS))
    return general_midi(MusicSurvey.of(score))


TABLES = {"musenet": MUSENET, "families": family_table()}

notes = st.tuples(
    st.floats(0, 9),
    st.floats(0, 4),
    st.integers(0, 127),
    st.integers(1, 127),
    st.sampled_from([0, 1, 40, 42, 48, 73, 110, DRUMS, DRUMS]),
)
# Few keys and coarse times as well, because that is where notes meet.
crowded = st.tuples(
    st.integers(0, 30).map(lambda t: t / 50),
    st.integers(0, 9).map(lambda t: t / 50),
    st.integers(60, 62),
    st.integers(1, 127),
    st.sampled_from([0, 40, DRUMS]),
)
scores = st.one_of(st.lists(notes, max_size=40), st.lists(crowded, max_size=40)).map(
    lambda rows: score_of(*((onset, onset + length + 1e-3, *rest) for onset, length, *rest in rows))
)


def random_score(rng: np.random.Generator, count: int) -> Score:
    """Many notes of all kinds, ten a second."""
    onset = rng.uniform(0, count / 10, count)
    programs = rng.choice([0, 0, 0, 40, 42, 73, DRUMS], count)
    return Score.of(
        onset,
        onset + rng.exponential(0.4, count) + 0.02,
        rng.integers(20, 110, count),
        rng.integers(1, 128, count),
        programs,
    )
