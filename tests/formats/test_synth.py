import numpy as np
import pytest
import soundfile

from helicon.formats.score import DRUMS, Score
from helicon.formats.synth import TAIL_S, render, write_wav
from helicon.formats.timbres import FAMILIES, family_of

RATE = 22050
EMPTY = Score.of([], [], [], [], [])


def note(program: int, pitch: int, onset_s: float = 0.0, end_s: float = 1.2, velocity: int = 96) -> Score:
    return Score.of([onset_s], [end_s], [pitch], [velocity], [program])


def loudest_hz(samples: np.ndarray) -> float:
    size = 1 << 18
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), size))
    return float(spectrum.argmax() * RATE / size)


def test_families_are_those_of_general_midi():
    assert (len(FAMILIES), family_of(0), family_of(127), family_of(DRUMS)) == (17, "piano", "sound effects", "drums")


@pytest.mark.parametrize("program", range(0, 128, 8))
@pytest.mark.parametrize("pitch", [33, 60, 69, 88])
def test_the_loudest_frequency_is_the_pitch(program, pitch):
    heard = render(note(program, pitch), RATE)[: int(1.2 * RATE)]
    assert loudest_hz(heard) == pytest.approx(440 * 2 ** ((pitch - 69) / 12), rel=0.01)


@pytest.mark.parametrize("program", [0, 24, 33, 40, 73, DRUMS])
def test_a_note_begins_when_it_should(program):
    sound = np.abs(render(note(program, 45, onset_s=0.5, end_s=0.8)))
    first = np.flatnonzero(sound > 0.02 * sound.max())[0] / RATE
    assert first == pytest.approx(0.5, abs=0.005 if program != 40 else 0.01)
    assert sound[: int(0.5 * RATE)].max() == 0


def test_a_held_tone_ends_and_a_plucked_one_dies_away():
    flute, guitar = (np.abs(render(note(program, 60, end_s=2.0))) for program in (73, 24))
    assert flute[int(1.7 * RATE) : int(1.9 * RATE)].max() > 0.8 * flute.max()
    assert guitar[int(1.7 * RATE) : int(1.9 * RATE)].max() < 0.2 * guitar.max()
    assert flute[int(2.5 * RATE) :].max() < 0.1 * flute.max()
    assert flute[-1] == 0


def test_no_notes_are_silence():
    assert render(EMPTY).tolist() == [0.0] * round(TAIL_S * RATE)


def test_a_thousand_loud_notes_do_not_clip():
    rng = np.random.default_rng(0)
    onset_s = rng.uniform(0, 4, 1000)
    columns = rng.integers(30, 90, 1000), np.full(1000, 127), rng.choice([0, 19, 48, 61, DRUMS], 1000)
    sound = render(Score.of(onset_s, onset_s + 1, *columns))
    assert sound.dtype == np.float32
    assert np.abs(sound).max() <= 1
    assert 0.05 < np.sqrt(np.square(sound).mean()) < 0.5


def test_louder_notes_are_louder_and_ultrasound_is_silent():
    soft, loud = (np.abs(render(note(0, 60, velocity=velocity))).max() for velocity in (30, 120))
    assert loud > 3 * soft > 0
    assert not render(note(0, 127), sample_rate=8000).any()


def test_a_wav_file_holds_the_samples_and_is_the_same_twice(tmp_path):
    sound = render(note(0, 60))
    for name in ("a.wav", "b.wav"):
        write_wav(sound, tmp_path / name, RATE)
    again, rate = soundfile.read(tmp_path / "a.wav", dtype="float32")
    assert rate == RATE
    assert np.abs(again - sound).max() < 1e-4
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()
    assert soundfile.info(tmp_path / "a.wav").subtype == "PCM_16"
