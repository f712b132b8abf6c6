"""Checker of the world of tones: compares a sound with its caption, word by word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from helicon.demos.tone_reader import DetectedNote, read_notes
from helicon.demos.tones import NOTES, PITCHES, TIMBRES, Note, Tones

_PAIRS = len(NOTES) * (len(NOTES) - 1)  # number of different `Tones`
# What is right in a sound of tones drawn at random, whatever was asked for
CHANCE = {
    "first_timbre": 1 / len(TIMBRES),
    "first_pitch": 1 / len(PITCHES),
    "second_timbre": 1 / len(TIMBRES),
    "second_pitch": 1 / len(PITCHES),
    "order": 842_730 / _PAIRS**2,  # counted over all tones heard and all asked for
    "all_right": 1 / _PAIRS,
}


def score(samples: np.ndarray, rate: int, tones: Tones) -> dict[str, bool]:
    """Compare a sound with tones; `CHANCE` has the accuracy of guessing.

    Args:
        samples: NumPy float [S] or [S, channels], S samples.
        rate: samples a second.
        tones: the expected `Tones`.

    Returns:
        By name of each word, as by `obeys`: True if it is right.
    """
    return obeys(read_notes(samples, rate), tones)


def obeys(heard: Sequence[DetectedNote], tones: Tones) -> dict[str, bool]:
    """Compare detected notes with tones.

    Notes are matched in order of time; a pitch is right within half a semitone. The order is right if the notes have
    more attributes in common with the expected ones at the same position than at the other. Nothing is right unless two
    notes are detected.

    Args:
        heard: `DetectedNote`s of a sound, in order of time.
        tones: the expected `Tones`.

    Returns:
        By name: True if it is right. The names are first_timbre, first_pitch, second_timbre, second_pitch, order; and
        all_right.
    """
    if len(heard) != 2:
        return dict.fromkeys(CHANCE, False)
    asked = (tones.first, tones.second)
    right = {}
    for which, note, detected in zip(("first", "second"), asked, heard):
        right[f"{which}_timbre"] = detected.timbre == note.timbre
        right[f"{which}_pitch"] = _in_tune(detected, note)
    crossed = sum(
        (detected.timbre == note.timbre) + _in_tune(detected, note) for note, detected in zip(asked[::-1], heard)
    )
    right["order"] = sum(right.values()) > crossed
    right["all_right"] = all(right.values())
    return {name: right[name] for name in CHANCE}


def _in_tune(heard: DetectedNote, note: Note) -> bool:
    return heard.key is not None and abs(heard.key - note.key) < 0.5
