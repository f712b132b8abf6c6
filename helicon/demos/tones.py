"""World of tones: sounds of two notes, plucked, bowed or blown, with captions that name both.

A small codec has few codes, so takes of a note must hardly differ: a note begins on a step of `STEP` samples, at the
same phase, and returns to that phase after a few steps. This puts pitches up to 12 cents off equal temperament, hardly
audible, and leaves 50 waveforms of a step for all notes of a timbre.

Shapes: S samples of a clip, N of a note, K harmonics; clips are mono.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from itertools import permutations, product
from pathlib import Path

import numpy as np

from helicon.demos.captions import check_word, fifth, read_words, write_captioned

RATE = 8000  # samples a second
STEP = 128  # samples; the hop of a codec should be a part of it, or all
REST, NOTE = 2 * STEP, 28 * STEP  # samples of the silence before and after each note, and of the note
BEAT = REST + NOTE + REST  # samples
SAMPLES = 2 * BEAT  # of a clip: 1.024 s

# Cycles in so many steps, and the key (MIDI's number): "low C" makes 21 cycles in 5 steps, which is 262.5 Hz.
PITCHES: dict[str, tuple[int, int, int]] = {
    "low C": (21, 5, 60), "low D": (14, 3, 62), "low E": (21, 4, 64), "low F": (28, 5, 65), "low G": (25, 4, 67),
    "low A": (7, 1, 69), "low B": (63, 8, 71),
    "high C": (25, 3, 72), "high D": (28, 3, 74), "high E": (21, 2, 76), "high F": (56, 5, 77), "high G": (25, 2, 79),
    "high A": (14, 1, 81), "high B": (63, 4, 83),
}  # fmt: skip


@dataclass(frozen=True)
class ToneTimbre:
    """Synthesis parameters of a timbre.

    Attributes:
        falloff: harmonic k has k ** -falloff of the fundamental's amplitude.
        attack_s: rise time in seconds.
        ring_s: time for the fundamental of a plucked string to fall to 1/e; None for a sustained note.
    """

    falloff: float
    attack_s: float
    ring_s: float | None = None


TIMBRES = {"plucked": ToneTimbre(1.2, 0.003, 0.09), "bowed": ToneTimbre(1.0, 0.112), "blown": ToneTimbre(3.0, 0.016)}

_HIGHEST_HZ = 3600.0  # harmonics above are left out
_DAMPING = 0.3  # each harmonic of a plucked string dies faster than the one below, by this part of the fundamental
_RELEASE = 2 * STEP  # samples in which a note ends
_LEVEL = 0.3  # of a note at its loudest: root mean square; 1 is full scale
_SOFTEST = 0.75  # of the loudest note; takes lie between
_HISS = 0.001  # root mean square of the noise


@dataclass(frozen=True)
class Note:
    """Note, named by its timbre and pitch.

    Raises:
        ValueError: a word is unknown.
    """

    timbre: str
    pitch: str

    def __post_init__(self) -> None:
        check_word("timbre", self.timbre, TIMBRES)
        check_word("pitch", self.pitch, PITCHES)

    def __str__(self) -> str:
        return f"{self.timbre} {self.pitch}"

    @property
    def key(self) -> int:
        """MIDI number of its pitch, an int; 60 is middle C."""
        return PITCHES[self.pitch][2]

    @property
    def frequency_hz(self) -> float:
        """Frequency of the fundamental in Hz."""
        cycles, steps, _ = PITCHES[self.pitch]
        return cycles * RATE / (steps * STEP)


NOTES = tuple(Note(*words) for words in product(TIMBRES, PITCHES))


@dataclass(frozen=True)
class Tones:
    """Two different notes, the second after the first.

    Raises:
        ValueError: the notes are equal, so that there is no order to hear.
    """

    first: Note
    second: Note

    def __post_init__(self) -> None:
        if self.first == self.second:
            raise ValueError(f"both notes are a {self.first}; they must differ")

    @property
    def caption(self) -> str:
        """Caption, such as "a plucked low C, then a bowed high G"."""
        return f"a {self.first}, then a {self.second}"

    @property
    def swapped(self) -> Tones:
        """`Tones` of the same notes in the other order."""
        return Tones(self.second, self.first)


EXAMPLE = "a plucked low C, then a bowed high G"
_NOTE = f"a ({'|'.join(TIMBRES)}) ({'|'.join(PITCHES)})"
_CAPTION = re.compile(f"{_NOTE}, then {_NOTE}")


def parse_caption(text: str) -> Tones:
    """Parse a text such as "a plucked low C, then a bowed high G" into `Tones`.

    Raises:
        ValueError: the text is not a caption.
    """
    words = read_words(_CAPTION, text, EXAMPLE, (*TIMBRES, *PITCHES))
    return Tones(Note(*words[:2]), Note(*words[2:]))


def play(tones: Tones, rng: np.random.Generator) -> np.ndarray:
    """Synthesise a take of tones; takes differ in the loudness of each note and in the hiss.

    Args:
        tones: `Tones` to play.
        rng: NumPy generator of loudness and hiss.

    Returns:
        Samples NumPy float32 [`SAMPLES`] at `RATE` a second; 1 is full scale.
    """
    take_S = rng.normal(0.0, _HISS, SAMPLES)
    for beat, note in enumerate((tones.first, tones.second)):
        begin = beat * BEAT + REST
        take_S[begin : begin + NOTE] += rng.uniform(_SOFTEST, 1.0) * waveform(note)
    return take_S.astype(np.float32)


@cache
def waveform(note: Note) -> np.ndarray:
    """Synthesise a `Note` at its loudest: `NOTE` samples float64 at `RATE` a second, cached and read only."""
    timbre, at_N = TIMBRES[note.timbre], np.arange(NOTE)
    harmonic_K = np.arange(1, int(_HIGHEST_HZ / note.frequency_hz) + 1)
    amplitude_K = harmonic_K**-timbre.falloff
    amplitude_K *= _LEVEL / np.sqrt((amplitude_K**2).sum() / 2)
    sound_KN = np.sin(2 * np.pi * note.frequency_hz / RATE * harmonic_K[:, None] * at_N)
    if timbre.ring_s is not None:
        faster_K1 = 1 + _DAMPING * (harmonic_K[:, None] - 1)
        sound_KN *= np.exp(-faster_K1 * at_N / (timbre.ring_s * RATE))
    swell_N = _rise(at_N / (timbre.attack_s * RATE)) * _rise((NOTE - at_N) / _RELEASE)
    sound_N = amplitude_K @ sound_KN * swell_N
    sound_N.setflags(write=False)
    return sound_N


def _rise(part: np.ndarray) -> np.ndarray:
    """Return a half-cosine ramp from 0 to 1 while `part` goes from 0 to 1, then 1."""
    return (1 - np.cos(np.pi * np.minimum(part, 1))) / 2


# A fifth of the pairs of notes
HELD_OUT = fifth((Tones(*notes) for notes in permutations(NOTES, 2)), lambda tones: tones.caption)


def held_out(tones: Tones) -> bool:
    """Return True if the two notes of a `Tones`, in this order, are never in training."""
    return tones in HELD_OUT


def draw_tones(rng: np.random.Generator) -> Tones:
    """Draw `Tones` uniformly from all, from a NumPy generator."""
    first, second = rng.choice(len(NOTES), 2, replace=False)
    return Tones(NOTES[first], NOTES[second])


def training_tones(rng: np.random.Generator) -> Tones:
    """Draw `Tones` uniformly from those that are not held out, from a NumPy generator."""
    while held_out(tones := draw_tones(rng)):
        pass
    return tones


def held_out_tones(rng: np.random.Generator) -> Tones:
    """Draw `Tones` uniformly from the held-out ones, from a NumPy generator."""
    while not held_out(tones := draw_tones(rng)):
        pass
    return tones


def write_folder(folder: str | os.PathLike[str], count: int, seed: int) -> list[Path]:
    """Write training tones as `folder/00001.wav` with captions `00001.txt`, and on.

    Args:
        folder: path of the target, created if necessary.
        count: number of sounds.
        seed: the same seed gives the same files.

    Returns:
        Paths of the sounds.
    """
    import soundfile

    def make(path: Path, rng: np.random.Generator) -> str:
        tones = training_tones(rng)
        soundfile.write(path, play(tones, rng), RATE, subtype="PCM_16")
        return tones.caption

    return write_captioned(folder, count, seed, ".wav", make)
