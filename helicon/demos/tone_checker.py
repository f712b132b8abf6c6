"""Says which words of a caption a sound of the world of tones obeys."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from helicon.demos.tone_reader import DetectedNote, read_notes
from helicon.demos.tones import NOTES, PITCHES, TIMBRES, Note, Tones

_PAIRS = len(NOTES) * (len(NOTES) - 1)
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
    """What of the tones is heard in float samples, [S] or [S, channels]; see `obeys`, and `CHANCE` for guessing."""
    return obeys(read_notes(samples, rate), tones)


def obeys(heard: Sequence[DetectedNote], tones: Tones) -> dict[str, bool]:
    """Whether each word is right: first_timbre, first_pitch, second_timbre, second_pitch, order; and all_right.

    The first note heard counts as the first, and a pitch is right within half a semitone. The order is right if notes
    heard have more in common with those asked for at the same place than with those at the other: told the other way
    around, tones that are right but for their order have it wrong. Nothing is right unless just two notes are heard.
    """
    if len(heard) != 2:
        return dict.fromkeys(CHANCE, False)
    asked = (tones.first, tones.second)
    right = {}
    for which, note, found in zip(("first", "second"), asked, heard):
        right[f"{which}_timbre"] = found.timbre == note.timbre
        right[f"{which}_pitch"] = _in_tune(found, note)
    crossed = sum((found.timbre == note.timbre) + _in_tune(found, note) for note, found in zip(asked[::-1], heard))
    right["order"] = sum(right.values()) > crossed
    right["all_right"] = all(right.values())
    return {name: right[name] for name in CHANCE}


def _in_tune(heard: DetectedNote, note: Note) -> bool:
    return heard.key is not None and abs(heard.key - note.key) < 0.5
