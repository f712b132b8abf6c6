from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest

from helicon.demos.tone_checker import CHANCE, obeys, score
from helicon.demos.tone_reader import DetectedNote, Manner, levels, nearest_timbre, overtones, period_pitch, read_notes
from helicon.demos.tones import (
    BEAT,
    NOTES,
    RATE,
    REST,
    SAMPLES,
    Note,
    Tones,
    draw_tones,
    held_out_tones,
    parse_caption,
    play,
    training_tones,
    waveform,
)

Spoil = Callable[[np.ndarray, np.random.Generator], np.ndarray]

TONES = parse_caption("a plucked low C, then a bowed high G")
OTHERS = {  # one word changed
    "first_timbre": "a blown low C, then a bowed high G",
    "first_pitch": "a plucked high C, then a bowed high G",
    "second_timbre": "a plucked low C, then a plucked high G",
    "second_pitch": "a plucked low C, then a bowed high F",
}


def take(tones: Tones, seed: int = 0) -> np.ndarray:
    return play(tones, np.random.default_rng(seed))


def noisy(sound: np.ndarray, rng: np.random.Generator, ratio_db: float = 15.0) -> np.ndarray:
    deviation = np.sqrt(np.mean(sound**2)) * 10 ** (-ratio_db / 20)
    return sound + rng.normal(0, deviation, len(sound))


def low_passed(sound: np.ndarray, above_hz: float) -> np.ndarray:
    """As a Butterworth filter of order 4 does, but without its delay."""
    spectrum, hz = np.fft.rfft(sound), np.fft.rfftfreq(len(sound), 1 / RATE)
    return np.fft.irfft(spectrum / np.sqrt(1 + (hz / above_hz) ** 8), len(sound))


def mu_law(sound: np.ndarray, values: int = 256) -> np.ndarray:
    most = values - 1
    code = np.round((np.sign(sound) * np.log1p(most * np.abs(sound)) / np.log1p(most) + 1) / 2 * most)
    back = code / most * 2 - 1
    return np.sign(back) * ((1 + most) ** np.abs(back) - 1) / most


def resampled(sound: np.ndarray, rate: int) -> np.ndarray:
    length = round(len(sound) * rate / RATE)
    return np.fft.irfft(np.fft.rfft(sound), length) * length / len(sound)


def share_right(count: int, seed: int, spoil: Spoil = lambda sound, rng: sound) -> float:
    """The share of takes, half of them of held-out tones, of which the checker says that all is right."""
    rng, right = np.random.default_rng(seed), 0
    for i in range(count):
        tones = (training_tones, held_out_tones)[i % 2](rng)
        right += score(spoil(play(tones, rng).astype(np.float64), rng), RATE, tones)["all_right"]
    return right / count


def test_a_sound_in_words():
    first, second = read_notes(take(TONES), RATE)
    assert (first.timbre, second.timbre) == ("plucked", "bowed")
    assert first.key == pytest.approx(60.06, abs=0.05)  # 262.5 Hz
    assert second.key == pytest.approx(78.94, abs=0.05)  # 781.25 Hz
    assert first.begin_s == pytest.approx(REST / RATE, abs=0.01)
    assert second.begin_s == pytest.approx((BEAT + REST) / RATE, abs=0.04)  # a bow takes its time
    assert second.end_s == pytest.approx((SAMPLES - REST) / RATE, abs=0.02)


@pytest.mark.parametrize("count", [500, pytest.param(2000, marks=pytest.mark.slow)])
def test_true_sounds_are_right(count):
    assert share_right(count, seed=0) == 1.0


@pytest.mark.parametrize(
    "spoil",
    [
        noisy,
        lambda sound, rng: low_passed(sound, 2000),
        lambda sound, rng: low_passed(sound, 1200),
        lambda sound, rng: np.round(sound * 127) / 127,
        lambda sound, rng: mu_law(sound),
        lambda sound, rng: mu_law(sound, 32),
        lambda sound, rng: sound * rng.uniform(0.3, 2) + rng.uniform(-0.1, 0.1),
        lambda sound, rng: mu_law(low_passed(noisy(sound, rng), 2000)),
    ],
    ids=["noisy", "dull", "very dull", "8 bit", "mu-law", "mu-law of 5 bit", "louder and off zero", "all of it"],
)
def test_spoilt_sounds_are_right(spoil):
    assert share_right(100, 1, spoil) >= 0.99


@pytest.mark.parametrize("rate", [11_025, 44_100])
def test_sounds_of_other_rates_and_channels_are_right(rate):
    rng = np.random.default_rng(2)
    for _ in range(20):
        tones = draw_tones(rng)
        sound = resampled(play(tones, rng), rate)
        assert score(np.stack([sound, 0.5 * sound], 1), rate, tones)["all_right"]


@pytest.mark.parametrize("changed", OTHERS)
def test_one_wrong_word_is_the_one_that_is_wrong(changed):
    other = parse_caption(OTHERS[changed])
    for played, asked in ((TONES, other), (other, TONES)):
        right = score(take(played), RATE, asked)
        assert [name for name in CHANCE if not right[name]] == [changed, "all_right"]


def test_tones_the_other_way_around_have_the_wrong_order():
    rng = np.random.default_rng(3)
    for _ in range(100):
        tones = draw_tones(rng)
        right = score(play(tones, rng), RATE, tones.swapped)
        assert not right["order"]
        assert right["first_pitch"] == right["second_pitch"] == (tones.first.pitch == tones.second.pitch)
        assert right["first_timbre"] == right["second_timbre"] == (tones.first.timbre == tones.second.timbre)


def test_captions_of_other_sounds_are_right_by_chance():
    rng = np.random.default_rng(4)
    rows = [score(play(draw_tones(rng), rng), RATE, draw_tones(rng)) for _ in range(500)]
    shares = {name: np.mean([row[name] for row in rows]) for name in CHANCE}
    assert shares == pytest.approx(CHANCE, abs=0.063)  # three deviations of a share of a third
    assert shares["all_right"] < 0.005


def test_what_guessing_reaches():
    """Each pair of tones, heard and asked for; asked for, only their sameness matters."""
    kinds = {"a plucked low C, then a bowed low C": 84, "a plucked low C, then a plucked low D": 546}
    kinds["a plucked low C, then a bowed low D"] = 1092
    everything = [[DetectedNote(0, 1, note.key, note.timbre) for note in notes] for notes in permutations(NOTES, 2)]
    assert sum(kinds.values()) == len(everything) == 1722
    shares = dict.fromkeys(CHANCE, 0.0)
    for caption, number in kinds.items():
        for heard in everything:
            for name, right in obeys(heard, parse_caption(caption)).items():
                shares[name] += right * number / 1722**2
    assert shares == pytest.approx(CHANCE)


def test_a_note_out_of_tune_is_wrong():
    for off, right in ((0.4, True), (-0.4, True), (0.6, False), (-0.6, False), (12, False), (-12, False)):
        heard = [DetectedNote(0, 0.4, 60 + off, "plucked"), DetectedNote(0.5, 1, 79, "bowed")]
        assert obeys(heard, TONES)["first_pitch"] == right


def clip(*notes: tuple[str, int]) -> np.ndarray:
    """A clip with notes from these samples on, and nothing else."""
    sound = np.zeros(SAMPLES)
    for words, at in notes:
        note = waveform(Note(*words.split(maxsplit=1)))[: SAMPLES - at]
        sound[at : at + len(note)] += note
    return sound


@pytest.mark.parametrize(
    "sound",
    [
        np.zeros(SAMPLES),
        np.full(SAMPLES, 0.3),
        np.zeros(0),
        np.zeros((SAMPLES, 0)),
        np.ones(1),
        np.full(SAMPLES, np.nan),
        np.where(np.arange(SAMPLES) == 4000, np.inf, take(TONES)),
        np.random.default_rng(0).normal(0, 0.1, SAMPLES),
        np.random.default_rng(0).normal(0, 1e-5, SAMPLES),
        (np.arange(SAMPLES) == 3000).astype(float),
        np.sin(np.arange(SAMPLES) * 2 * np.pi * 262.5 / RATE),
        clip(("plucked low C", REST)),
        clip(("bowed high G", BEAT + REST)),
        clip(("plucked low C", 0), ("bowed high G", 2048), ("plucked low D", 6144)),
        1e-4 * take(TONES),
    ],
    ids=[
        "silence", "a constant", "no samples", "no channels", "one sample", "NaN", "infinite", "noise", "faint noise",
        "a click", "one long note", "only the first note", "only the second note", "three notes", "too soft to hear",
    ],
)  # fmt: skip
def test_other_sounds_have_nothing_right(sound):
    assert score(sound, RATE, TONES) == dict.fromkeys(CHANCE, False)


def test_bursts_of_noise_have_no_pitch_and_no_timbre():
    rng, sound = np.random.default_rng(0), np.zeros(SAMPLES)
    for begin in (REST, BEAT + REST):
        sound[begin : begin + 3000] = rng.normal(0, 0.1, 3000)
    assert [(heard.key, heard.timbre) for heard in read_notes(sound, RATE)] == [(None, None)] * 2
    assert not any(score(sound, RATE, TONES).values())


def test_a_note_that_changes_its_pitch_has_none():
    sound = clip(("blown low C", REST), ("bowed high G", BEAT + REST))
    sound[2000:BEAT] = clip(("blown low E", REST))[2000:BEAT]
    first, second = read_notes(sound, RATE)
    assert (first.key, first.timbre) == (None, None)
    assert second.timbre == "bowed"


def test_what_is_no_sound_is_refused():
    with pytest.raises(ValueError, match=r"samples are \[2, 3, 4\] at 8000 a second"):
        read_notes(np.zeros((2, 3, 4)), RATE)
    with pytest.raises(ValueError, match="at 4000 or more"):
        read_notes(np.zeros(100), 1000)


@pytest.mark.parametrize("hz", [110.0, 261.63, 440.0, 987.77, 1500.0])
def test_pitch_of_other_instruments(hz):
    """Of a square wave's odd harmonics, and of harmonics whose fundamental is missing."""
    at = np.arange(3000) / RATE
    for harmonics in ((1, 3, 5), (1, 2, 3, 4, 5), (2, 3, 4, 5, 6)):
        sounds = [np.cos(2 * np.pi * k * hz * at + k) / k for k in harmonics if k * hz < 3900]
        if len(sounds) > 1:
            assert period_pitch(np.sum(sounds, 0), RATE) == pytest.approx(hz, rel=0.01)


def test_the_autocorrelation_is_what_a_slow_sum_says():
    sound = np.random.default_rng(5).normal(0, 0.1, 2000) + np.sin(np.arange(2000) * 2 * np.pi / 25)
    slow = [sound[: len(sound) - lag] @ sound[lag:] for lag in range(60)]
    assert 10 + int(np.argmax(slow[10:])) == 25
    assert period_pitch(sound, RATE) == pytest.approx(RATE / 25, rel=0.005)


def test_levels_are_without_the_hiss():
    rng = np.random.default_rng(6)
    sound = rng.normal(0, 0.02, RATE)
    sound[2000:6000] += 0.2 * np.sin(np.arange(4000) / 3)
    level = levels(sound, RATE)
    assert len(level) == 250
    assert level[70:180] == pytest.approx(0.2 / 2**0.5, rel=0.15)
    assert level[:55].max() < 0.02
    assert not levels(rng.normal(0, 0.02, RATE), RATE).any()


def test_part_of_the_overtones():
    at = 2 * np.pi * 300 * np.arange(3000) / RATE
    assert overtones(np.sin(at), RATE, 300) == pytest.approx(0, abs=1e-4)
    assert overtones(np.sin(at) + np.sin(3 * at), RATE, 300) == pytest.approx(0.5, abs=1e-3)
    assert overtones(2 * np.sin(at) + np.sin(2 * at), RATE, 300) == pytest.approx(0.2, abs=1e-3)


def test_timbres_between_those_that_are_played():
    assert nearest_timbre(Manner(held=0.4, attack_s=0.02, overtones=0.3)) == "plucked"
    assert nearest_timbre(Manner(held=0.3, attack_s=0.01, overtones=0.0)) == "plucked"
    assert nearest_timbre(Manner(held=0.8, attack_s=0.04, overtones=0.1)) == "bowed"
    assert nearest_timbre(Manner(held=0.85, attack_s=0.03, overtones=0.03)) == "blown"
