"""Writing MIDI: what is written is what is read, and what other programs should see."""

from pathlib import Path

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helicon.formats.general_midi import PROGRAM_NAMES
from helicon.formats.midi import read_midi, read_midi_bytes
from helicon.formats.midi_bytes import MidiError
from helicon.formats.midi_write import write_midi
from helicon.formats.score import DRUMS, Score


def assert_same(found: Score, score: Score) -> None:
    """Equal but for 1 ms of time and the rounding of the tempo to a microsecond a quarter."""
    np.testing.assert_allclose(found.onset_s, score.onset_s, atol=1e-3, rtol=0)
    np.testing.assert_allclose(found.end_s, score.end_s, atol=2e-3, rtol=0)
    for name in ("pitch", "velocity", "program"):
        np.testing.assert_array_equal(getattr(found, name), getattr(score, name))
    assert found.tempo_bpm == pytest.approx(score.tempo_bpm, rel=1e-4)


def scale(programs: list[int], tempo_bpm: float = 120.0) -> Score:
    """An octave for each program, a note every 100 ms, each ending as the next one begins."""
    n = 12 * len(programs)
    onset = np.arange(n) * 0.1
    return Score.of(
        onset, onset + 0.1, 60 + np.arange(n) % 12, 1 + np.arange(n) % 127, np.repeat(programs, 12), tempo_bpm
    )


@pytest.mark.parametrize(
    "programs", [[0], [DRUMS], [0, DRUMS], [40, 42, 73], [*range(0, 100, 5), DRUMS], list(range(129))]
)
@pytest.mark.parametrize("tempo_bpm", [20.0, 97.3, 240.0])
def test_round_trip(programs: list[int], tempo_bpm: float, tmp_path: Path) -> None:
    score = scale(programs, tempo_bpm)
    write_midi(score, tmp_path / "a.mid")
    found, report = read_midi(tmp_path / "a.mid")
    assert_same(found, score)
    assert report.counts == {}


def test_20_programs_at_once(tmp_path: Path) -> None:
    programs = np.arange(20) * 6
    score = Score.of(np.zeros(20), np.ones(20), np.full(20, 60), np.arange(20) + 50, programs)
    write_midi(score, tmp_path / "a.mid")
    assert_same(read_midi(tmp_path / "a.mid")[0], score)
    ports = [m.port for m in mido.MidiFile(tmp_path / "a.mid").merged_track if m.type == "midi_port"]
    assert ports == [1] * 5  # 15 melodic channels on the first port


_NOTE = st.tuples(
    st.floats(0, 60), st.floats(0.005, 2), st.integers(0, 127), st.integers(1, 127), st.integers(0, DRUMS)
)


@settings(max_examples=50, deadline=None)
@given(st.lists(_NOTE, min_size=1, unique_by=lambda note: (note[2], note[4])), st.floats(20, 300))
def test_round_trip_of_any_notes(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple], tempo_bpm: float) -> None:
    onset, length, pitch, velocity, program = (np.array(column) for column in zip(*rows))
    score = Score.of(onset, onset + length, pitch, velocity, program, tempo_bpm)
    path = tmp_path_factory.mktemp("midi") / "a.mid"
    write_midi(score, path)
    found = read_midi(path)[0]
    # onsets that rounding makes equal change places, so both are compared in the order of program and pitch
    ours, theirs = (np.lexsort((s.pitch, s.program)) for s in (score, found))
    np.testing.assert_allclose(found.onset_s[theirs], score.onset_s[ours], atol=1e-3, rtol=0)
    np.testing.assert_allclose(found.end_s[theirs], score.end_s[ours], atol=2e-3, rtol=0)
    for name in ("pitch", "velocity", "program"):
        np.testing.assert_array_equal(getattr(found, name)[theirs], getattr(score, name)[ours])


def test_repeated_note_ends_before_it_begins_again(tmp_path: Path) -> None:
    score = Score.of([0.0, 0.5, 1.0], [0.5, 1.0, 1.5], [60] * 3, [64, 65, 66], [0] * 3)
    write_midi(score, tmp_path / "a.mid")
    assert_same(read_midi(tmp_path / "a.mid")[0], score)
    kinds = [m.type for m in mido.MidiFile(tmp_path / "a.mid").tracks[1] if m.type.startswith("note")]
    assert kinds == ["note_on", "note_off"] * 3


def test_what_other_programs_see(tmp_path: Path) -> None:
    score = Score.of([0, 0, 0], [1, 1, 0.1], [60, 67, 36], [64, 64, 100], [40, 0, DRUMS], tempo_bpm=60)
    write_midi(score, tmp_path / "a.mid", text="violin piano drums")
    file = mido.MidiFile(tmp_path / "a.mid")
    assert (file.type, file.ticks_per_beat, file.length) == (1, 2400, pytest.approx(1.0))
    assert [track.name for track in file.tracks] == ["", "Acoustic Grand Piano", "Violin", "drums"]
    assert [(m.type, m.time) for m in file.tracks[0]] == [("set_tempo", 0), ("text", 0), ("end_of_track", 0)]
    assert [m.channel for track in file.tracks for m in track if m.type == "note_on"] == [0, 1, 9]
    assert [m.program for track in file.tracks for m in track if m.type == "program_change"] == [0, 40]
    assert len(PROGRAM_NAMES) == 128


@pytest.mark.parametrize(
    "text",
    ["bach piano_strings start tempo90", "Dvořák 🎻 שיר", "a\0b\nc", "lone \ud800 surrogate", "x" * 100_000, ""],
    ids=lambda text: ascii(text[:12]),
)
def test_text_round_trips(text: str, tmp_path: Path) -> None:
    write_midi(scale([0]), tmp_path / "a.mid", text=text)
    assert read_midi(tmp_path / "a.mid")[1].text == text


def test_length_is_where_the_first_track_ends(tmp_path: Path) -> None:
    write_midi(scale([0], tempo_bpm=90), tmp_path / "a.mid", seconds=30)
    assert mido.MidiFile(tmp_path / "a.mid").length == pytest.approx(30, abs=1e-3)


@pytest.mark.parametrize(("tempo_bpm", "legal_bpm"), [(1.0, 60e6 / 0xFFFFFF), (1e9, 60e6)])
def test_tempo_is_clipped_to_what_midi_has(tempo_bpm: float, legal_bpm: float, tmp_path: Path) -> None:
    write_midi(Score.of([0], [0.1], [60], [64], [0], tempo_bpm), tmp_path / "a.mid")
    found = read_midi(tmp_path / "a.mid")[0]
    assert found.tempo_bpm == pytest.approx(legal_bpm)
    assert found.end_s == pytest.approx([0.1], abs=60 / legal_bpm / 1920)


def test_score_without_notes(tmp_path: Path) -> None:
    write_midi(Score.of([], [], [], [], [], tempo_bpm=80), tmp_path / "a.mid")
    found = read_midi(tmp_path / "a.mid")[0]
    assert (len(found), found.tempo_bpm) == (0, 80.0)


def test_same_score_same_bytes(tmp_path: Path) -> None:
    score = scale([40, 0, DRUMS, 73])
    i = np.random.default_rng(0).permutation(len(score))
    shuffled = Score.of(score.onset_s[i], score.end_s[i], score.pitch[i], score.velocity[i], score.program[i])
    write_midi(score, tmp_path / "a.mid", text="t")
    write_midi(shuffled, tmp_path / "b.mid", text="t")
    assert (tmp_path / "a.mid").read_bytes() == (tmp_path / "b.mid").read_bytes()


@pytest.mark.parametrize(
    ("score", "text", "reason"),
    [
        (scale([0]), "x" * 1_000_001, "text"),
        (Score.of([1e6], [1e6 + 1], [60], [64], [0]), "", "rest"),
    ],
    ids=["text", "rest"],
)
def test_what_midi_cannot_hold_leaves_the_file_alone(score: Score, text: str, reason: str, tmp_path: Path) -> None:
    write_midi(scale([0]), tmp_path / "a.mid")
    before = (tmp_path / "a.mid").read_bytes()
    with pytest.raises(MidiError, match=reason):
        write_midi(score, tmp_path / "a.mid", text=text)
    assert (tmp_path / "a.mid").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.mid"]


def test_second_generation_is_the_first(tmp_path: Path) -> None:
    """What was once written and read comes back exactly: times lie on ticks."""
    write_midi(scale([0, 40, DRUMS], tempo_bpm=97.3), tmp_path / "a.mid")
    once = read_midi(tmp_path / "a.mid")[0]
    write_midi(once, tmp_path / "b.mid")
    assert (tmp_path / "b.mid").read_bytes() == (tmp_path / "a.mid").read_bytes()
    assert len(read_midi_bytes((tmp_path / "b.mid").read_bytes())[0]) == len(once)
