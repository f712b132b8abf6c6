from collections import Counter
from itertools import permutations

import numpy as np
import pytest
import soundfile

from helicon.demos.tones import (
    BEAT,
    HELD_OUT,
    NOTE,
    NOTES,
    PITCHES,
    RATE,
    REST,
    SAMPLES,
    STEP,
    TIMBRES,
    Note,
    Tones,
    draw_tones,
    held_out,
    held_out_tones,
    parse_caption,
    play,
    training_tones,
    waveform,
    write_folder,
)

TONES = Tones(Note("plucked", "low C"), Note("bowed", "high G"))


@pytest.fixture(scope="module")
def every() -> list[Tones]:
    """All tones there are."""
    return [Tones(*notes) for notes in permutations(NOTES, 2)]


def loudness(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(sound**2)))


def test_tones_in_words():
    assert TONES.caption == "a plucked low C, then a bowed high G"
    assert TONES.swapped.caption == "a bowed high G, then a plucked low C"
    assert parse_caption("a blown low A, then a blown high A\n") == Tones(
        Note("blown", "low A"), Note("blown", "high A")
    )


def test_every_caption_is_its_tones(every):
    assert len(every) == 42 * 41
    assert len({tones.caption for tones in every}) == len(every)
    assert all(parse_caption(tones.caption) == tones and tones.swapped.swapped == tones for tones in every)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a plucked C, then a bowed high G", "cannot read 'a plucked C, then a bowed high G'"),
        ("a struck low C, then a bowed high G", "plucked, bowed, blown, low C, low D"),
        ("a bowed low C, then a bowed low C", "both notes are a bowed low C"),
        ("", "cannot read ''"),
    ],
)
def test_what_is_no_caption_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_caption(text)


def test_notes_of_other_words_are_refused():
    with pytest.raises(ValueError, match="no timbre 'struck'; there are plucked, bowed, blown"):
        Note("struck", "low C")
    with pytest.raises(ValueError, match="no pitch 'low H'; there are low C"):
        Note("bowed", "low H")


def test_pitches_are_white_keys_nearly_in_tune():
    keys = [note.key for note in NOTES if note.timbre == "bowed"]
    assert keys == [60, 62, 64, 65, 67, 69, 71, 72, 74, 76, 77, 79, 81, 83]
    assert Note("bowed", "low A").frequency_hz == 437.5
    assert Note("bowed", "high C").frequency_hz == pytest.approx(523.25, rel=0.005)
    for note in NOTES:
        tempered_hz = 440 * 2 ** ((note.key - 69) / 12)
        assert abs(1200 * np.log2(note.frequency_hz / tempered_hz)) < 12


def test_a_held_note_comes_back_to_its_phase_after_a_few_steps():
    assert sum(steps for _, steps, _ in PITCHES.values()) == 50
    for pitch, (_, steps, _) in PITCHES.items():
        held = waveform(Note("blown", pitch))[STEP:-REST].reshape(-1, STEP)
        apart = [np.abs(held[steps:] - held[:-steps]).max(), np.abs(held[1:] - held[:-1]).max() if steps > 1 else 1]
        assert apart[0] < 1e-9
        assert apart[1] > 0.1


def test_a_low_c_blown_harmonic_by_harmonic():
    """Amplitudes 1, 1/8 and 1/27 of 262.5, 525 and 787.5 Hz, over 40 of the 64 ms that five periods of 21/5 take."""
    held = waveform(Note("blown", "low C"))[STEP : STEP + 20 * STEP]
    spectrum = np.abs(np.fft.rfft(held)) / len(held) * 2
    harmonics = spectrum[84::84][:13]  # 84 cycles in 20 steps
    assert harmonics[0] == pytest.approx(0.3 * 2**0.5, rel=0.02)
    assert (harmonics / harmonics[0]).tolist() == pytest.approx([k**-3 for k in range(1, 14)])
    assert np.delete(spectrum, np.arange(84, 84 * 14, 84)).max() < 1e-9


@pytest.mark.parametrize("pitch", ["low C", "high B"])
def test_how_each_timbre_goes(pitch):
    """Levels of the first 16 ms, of 16 ms around 0.1 and 0.3 s, and of the last 16 ms, as parts of the loudest."""
    levels = {}
    for timbre in TIMBRES:
        sound = waveform(Note(timbre, pitch))
        windows = np.array([loudness(sound[i : i + STEP]) for i in range(0, NOTE, STEP)])
        levels[timbre] = (windows / windows.max())[[0, 6, 18, 27]]
    assert levels["plucked"] == pytest.approx([1, 0.3, 0.04, 0], abs=0.08)
    assert levels["bowed"] == pytest.approx([0.02, 1, 1, 0.2], abs=0.08)
    assert levels["blown"] == pytest.approx([0.6, 1, 1, 0.2], abs=0.08)


def test_no_note_clicks_or_clips():
    for note in NOTES:
        sound = waveform(note)
        assert np.abs(sound).max() < 0.65
        assert np.abs(sound[[0, 1, -1]]).max() < 0.005  # begins and ends at nothing
        assert loudness(sound) > 0.08


def test_a_take_is_two_notes_on_their_beats():
    take = play(TONES, np.random.default_rng(0))
    assert take.shape == (SAMPLES,) == (8192,)
    assert take.dtype == np.float32
    assert np.abs(take).max() < 0.65
    for beat, note in enumerate((TONES.first, TONES.second)):
        rests = [take[beat * BEAT : beat * BEAT + REST], take[(beat + 1) * BEAT - REST : (beat + 1) * BEAT]]
        assert max(map(loudness, rests)) < 0.0015
        heard, clean = take[beat * BEAT + REST :][:NOTE], waveform(note)
        gain = heard @ clean / (clean @ clean)
        assert 0.75 <= gain <= 1
        assert loudness(heard - gain * clean) == pytest.approx(0.001, rel=0.1)


def test_a_take_is_the_same_for_the_same_seed():
    takes = [play(TONES, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert np.array_equal(takes[0], takes[1])
    assert not np.array_equal(takes[0], takes[2])


def test_a_fifth_of_the_combinations_is_held_out_always_the_same(every):
    assert len(HELD_OUT) == 344 == 1722 // 5
    assert sum(map(held_out, every)) == 344
    assert held_out(parse_caption("a plucked low C, then a plucked low E"))
    assert not held_out(parse_caption("a plucked low C, then a plucked low D"))


def test_every_note_is_in_training_at_either_place(every):
    training = [tones for tones in every if not held_out(tones)]
    for place in ("first", "second"):
        counts = Counter(getattr(tones, place) for tones in training)
        assert set(counts) == set(NOTES)
        assert min(counts.values()) >= 25  # of 41


def test_tones_are_drawn_from_their_side_each_as_likely():
    rng = np.random.default_rng(0)
    training, held, drawn = ([draw(rng) for _ in range(3000)] for draw in (training_tones, held_out_tones, draw_tones))
    assert not any(map(held_out, training))
    assert all(map(held_out, held))
    assert sum(map(held_out, drawn)) / 3000 == pytest.approx(0.2, abs=0.02)
    assert len(set(held)) == 344
    assert max(Counter(held).values()) < 25  # about 9 on average
    assert {tones.first for tones in held} == {tones.second for tones in held} == set(NOTES)


def test_a_folder_of_sounds_and_captions(tmp_path):
    paths = write_folder(tmp_path / "a", 8, seed=1)
    assert [path.name for path in paths] == [f"{i:05}.wav" for i in range(1, 9)]
    assert len(list((tmp_path / "a").iterdir())) == 16
    for i, path in enumerate(paths):
        tones = parse_caption(path.with_suffix(".txt").read_text(encoding="utf-8"))
        rng = np.random.default_rng((1, i))
        assert tones == training_tones(rng)
        samples, rate = soundfile.read(path, dtype="float32")
        assert rate == RATE
        assert np.abs(samples - play(tones, rng)).max() <= 1 / 32768
        assert soundfile.info(path).subtype == "PCM_16"


def test_folders_of_different_seeds_differ(tmp_path):
    folders = [write_folder(tmp_path / str(i), 4, seed) for i, seed in enumerate((1, 1, 2))]
    same = [[a.read_bytes() == b.read_bytes() for a, b in zip(folders[0], other)] for other in folders[1:]]
    assert all(same[0])
    assert not any(same[1])
