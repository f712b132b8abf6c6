import random

import numpy as np
import pytest

from helicon.demos.composer import compose, write_folder
from helicon.demos.harmony import DOMINANT, SUBDOMINANT, TONIC, MusicalKey, lead, progression
from helicon.demos.styles import LABELS, decide
from helicon.formats.score import DRUMS, Score

SCALES = {False: {0, 2, 4, 5, 7, 9, 11}, True: {0, 2, 3, 5, 7, 8, 10, 11}}
SEEDS = range(24)


def same(a: Score, b: Score) -> bool:
    columns = ("onset_s", "end_s", "pitch", "velocity", "program")
    return (a.label, a.tempo_bpm) == (b.label, b.tempo_bpm) and all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in columns
    )


def test_chords_of_a_key():
    assert MusicalKey(0, minor=False).chord(TONIC) == (0, 4, 7)
    assert MusicalKey(9, minor=True).chord(DOMINANT) == (4, 8, 11)  # E major in A minor
    assert MusicalKey(9, minor=True).name == "A minor"


def test_a_progression_goes_where_it_is_asked_to():
    degrees = progression(MusicalKey(0, minor=False), [TONIC], 4, [DOMINANT, SUBDOMINANT], random.Random(0))
    assert (degrees[0], len(degrees)) == (TONIC, 4)
    with pytest.raises(ValueError, match="no 1 chords"):
        progression(MusicalKey(0, minor=False), [DOMINANT], 1, [SUBDOMINANT], random.Random(0))


@pytest.mark.parametrize("minor", [False, True])
@pytest.mark.parametrize("tonic", range(12))
def test_voices_sound_the_chord_do_not_cross_and_avoid_parallel_fifths(tonic, minor):
    key, degrees = MusicalKey(tonic, minor), [TONIC, SUBDOMINANT, DOMINANT, TONIC]
    voices = lead(key, degrees, [69, 71, 70, 69], random.Random(0))
    assert (np.diff(voices, axis=1) > 0).all()
    assert [set(row % 12) for row in voices] == [set(key.chord(degree)) for degree in degrees]
    moved = np.diff(voices, axis=0)
    for low, high in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)):
        is_open = np.isin((voices[:-1, high] - voices[:-1, low]) % 12, (0, 7))
        assert not (is_open & (moved[:, low] == moved[:, high]) & (moved[:, low] != 0)).any()


def test_the_same_seed_is_the_same_piece_and_another_is_not():
    assert same(compose(5), compose(5))
    assert same(compose(5, "duet"), compose(5, "duet"))
    assert not same(compose(5, "duet"), compose(6, "duet"))
    with pytest.raises(ValueError, match="no style 'rap'"):
        compose(0, "rap")


@pytest.mark.parametrize("label", LABELS)
def test_pieces_are_short_on_the_grid_and_in_key(label):
    for seed in SEEDS:
        piece, plan = compose(seed, label), decide(label, random.Random(seed))
        assert piece.label == label
        assert 70 <= plan.tempo_bpm <= 140
        assert plan.tempo_bpm % 5 == 0
        assert piece.tempo_bpm == pytest.approx(plan.tempo_bpm, abs=1e-3)
        assert 10 <= piece.seconds <= 30
        assert 80 <= len(piece) <= 380
        assert (piece.end_s - piece.onset_s).min() >= 0.09
        for times_s in (piece.onset_s, piece.end_s):
            sixteenths = times_s * plan.tempo_bpm / 15
            assert np.abs(sixteenths.round() * 15 / plan.tempo_bpm - times_s).max() < 0.0052
            assert times_s == pytest.approx(times_s.round(2), abs=2e-4)  # to a tick
        assert set(piece.velocity) <= set(range(24, 121, 8))
        degrees = (piece.pitch[piece.program != DRUMS] - plan.key.tonic) % 12
        assert set(degrees.tolist()) <= SCALES[plan.key.minor]


@pytest.mark.parametrize("label", LABELS)
def test_the_bass_is_below_the_melody_and_the_last_chord_is_the_tonic(label):
    for seed in SEEDS:
        piece, plan = compose(seed, label), decide(label, random.Random(seed))
        pitched = piece.program != DRUMS
        last = piece.pitch[pitched & (piece.end_s == piece.seconds)]
        assert set((last % 12).tolist()) == set(plan.key.chord(TONIC))
        assert last.min() % 12 in plan.key.chord(TONIC)[:2]
        for tick in range(0, len(plan.form) * 4 * plan.metre.bar, plan.metre.slot):  # wherever a chord begins
            at_s = round(tick * 15 / plan.tempo_bpm, 2) + 0.001
            sounding = piece.pitch[pitched & (piece.onset_s <= at_s) & (piece.end_s > at_s)]
            assert sounding.min() < 58 < 62 <= sounding.max()


def test_no_other_instrument_goes_below_the_bass():
    for seed in SEEDS:
        piece = compose(seed, "dance")
        for i in np.flatnonzero(piece.program == 32):
            together = (piece.onset_s < piece.end_s[i]) & (piece.end_s > piece.onset_s[i]) & (piece.program < 128)
            assert piece.pitch[together].min() == piece.pitch[i]


@pytest.mark.parametrize("label", LABELS)
def test_no_instrument_strikes_a_key_that_it_holds(label):
    for seed in SEEDS:
        piece = compose(seed, label)
        order = np.lexsort((piece.onset_s, piece.pitch, piece.program))
        again = (np.diff(piece.pitch[order]) == 0) & (np.diff(piece.program[order]) == 0)
        assert (piece.onset_s[order][1:][again] >= piece.end_s[order][:-1][again]).all()


def test_phrases_come_back():
    piece, plan = compose(3, "chorale"), decide("chorale", random.Random(3))
    phrase_s = 4 * plan.metre.bar / 4 * 60 / plan.tempo_bpm
    first, last = (piece.between(i * phrase_s, (i + 0.45) * phrase_s) for i in (0, len(plan.form) - 1))
    shared = {(round(t, 1), p) for t, p in zip(first.onset_s, first.pitch)} & {
        (round(t, 1), p) for t, p in zip(last.onset_s, last.pitch)
    }
    assert len(shared) > 0.6 * len(first)


def test_a_folder_has_each_style_in_turn_and_is_the_same_twice(tmp_path):
    names = ["chorale/chorale-0001.mid", "duet/duet-0001.mid", "dance/dance-0001.mid", "march/march-0001.mid"]
    names.append("chorale/chorale-0002.mid")
    for folder in ("a", "b"):
        paths = write_folder(tmp_path / folder, 5, seed=1)
        assert [path.relative_to(tmp_path / folder).as_posix() for path in paths] == names
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)
    assert b"quarter notes a minute" in (tmp_path / "a" / names[0]).read_bytes()
