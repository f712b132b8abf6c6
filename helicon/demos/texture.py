"""Melody, accompaniment and drums from led voices."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from helicon.demos.harmony import MusicalKey
from helicon.demos.styles import Metre

LOWEST_BASS, HIGHEST_MELODY = 36, 84  # MIDI pitches
KICK, SNARE, HAT, CYMBAL = 36, 38, 42, 49  # General MIDI's drum notes


@dataclass(frozen=True)
class ChordSpan:
    """Time of one chord on the grid of ticks (sixteenth notes), and its notes.

    Attributes:
        tick: start.
        ticks: duration.
        degree: of the chord in its key, 0 (tonic) .. 5.
        voices: MIDI pitches int [4] of bass, tenor, alto, soprano.
    """

    tick: int
    ticks: int
    degree: int
    voices: np.ndarray


@dataclass(frozen=True)
class Event:
    """Note on the grid: start and duration in ticks (sixteenth notes), and MIDI pitch.

    `part` is "melody", "chords", "bass" or "drums".
    """

    tick: int
    ticks: int
    pitch: int
    part: str


# How a melody gets through a slot: along the scale to the next slot's note, around its own, or over the chord's notes.
WALK, TURN_UP, TURN_DOWN, RISE, FALL = "walk", "turn up", "turn down", "rise", "fall"
_OFFSETS = {
    TURN_UP: (0, 1, 0, -1, 0, 1),
    TURN_DOWN: (0, -1, 0, 1, 0, -1),
    RISE: (0, 1, 2, 1, 0, 1),
    FALL: (0, -1, -2, -1, 0, -1),
}

# Accompaniment of a slot by style and ticks: (tick, ticks, voices). b, t, a: bass, tenor, alto. f: the fifth below the
# bass. B, A: bass and alto on their way to the next slot.
_ACCOMPANIMENT = {
    ("chorale", 8): ((0, 4, "bta"), (4, 4, "BtA")),
    ("chorale", 12): ((0, 4, "bta"), (4, 4, "bta"), (8, 4, "BtA")),
    ("duet", 6): ((0, 4, "b"), (2, 2, "t"), (4, 2, "ta")),
    ("duet", 8): ((0, 8, "b"), (2, 2, "ta"), (4, 2, "t"), (6, 2, "ta")),
    ("duet", 12): ((0, 12, "b"), (2, 2, "t"), (4, 2, "ta"), (6, 2, "t"), (8, 2, "ta"), (10, 2, "t")),
    ("dance", 6): ((0, 4, "b"), (4, 2, "ta")),
    ("dance", 8): ((0, 4, "b"), (2, 2, "ta"), (4, 4, "f"), (6, 2, "ta")),
    ("dance", 12): ((0, 8, "b"), (4, 3, "ta"), (8, 3, "ta")),
    ("march", 8): ((0, 3, "b"), (2, 1, "ta"), (4, 3, "f"), (6, 1, "ta")),
}
_DRUMS = {  # (tick, note) of a bar
    ("dance", "4/4"): ((0, KICK), (4, SNARE), (6, HAT), (8, KICK), (12, SNARE), (14, HAT)),
    ("dance", "3/4"): ((0, KICK), (4, HAT), (8, HAT), (10, HAT)),
    ("dance", "6/8"): ((0, KICK), (4, HAT), (6, SNARE), (10, HAT)),
    ("march", "4/4"): ((0, KICK), (4, SNARE), (8, KICK), (10, SNARE), (12, SNARE)),
}


def melody(
    slots: Sequence[ChordSpan], cells: Sequence[Sequence[int]], figures: Sequence[str], key: MusicalKey
) -> Iterator[Event]:
    """Decorate the soprano by a rhythm and a figure in each slot; the last slot is one long note.

    Args:
        slots: `ChordSpan`s of the phrase.
        cells: for each slot, durations of its notes in ticks (sixteenth notes).
        figures: figure of each slot: `WALK`, `TURN_UP`, `TURN_DOWN`, `RISE` or `FALL`.
        key: `MusicalKey` of the phrase.

    Yields:
        `Event`s of the melody.
    """
    for i, slot in enumerate(slots[:-1]):
        tick = slot.tick
        pitches = _figure(figures[i], slot, int(slots[i + 1].voices[3]), len(cells[i]), key)
        for ticks, pitch in zip(cells[i], pitches, strict=True):
            yield Event(tick, ticks, pitch, "melody")
            tick += ticks
    yield Event(slots[-1].tick, slots[-1].ticks, int(slots[-1].voices[3]), "melody")


def _figure(figure: str, slot: ChordSpan, goal: int, count: int, key: MusicalKey) -> list[int]:
    """Return `count` pitches from the slot's soprano on; those beyond the melody's range are replaced by it."""
    start, alto = int(slot.voices[3]), int(slot.voices[2])
    ladder = _ladder(key.chord(slot.degree) if figure in (RISE, FALL) else key.scale(slot.degree))
    at = bisect_left(ladder, start)
    steps = bisect_left(ladder, goal) - at
    if figure == WALK and steps:
        offsets = [round(steps * j / count) for j in range(count)]
    else:
        offsets = [_OFFSETS[TURN_DOWN if figure == WALK else figure][j] for j in range(count)]
    pitches = [ladder[at + offset] for offset in offsets]
    return [pitch if alto < pitch <= HIGHEST_MELODY else start for pitch in pitches]


def _ladder(pitch_classes: Sequence[int]) -> list[int]:
    """Return all MIDI pitches of these classes, ascending."""
    return [pitch for pitch in range(128) if pitch % 12 in pitch_classes]


def accompaniment(slots: Sequence[ChordSpan], label: str, metre: Metre, key: MusicalKey, held: bool) -> Iterator[Event]:
    """Play bass and chords in the style's pattern.

    Args:
        slots: `ChordSpan`s of the phrase.
        label: name of the style, of `LABELS`.
        metre: `Metre` of the piece.
        key: `MusicalKey` of the piece.
        held: True makes the last slot one long chord, as at the end of a piece.

    Yields:
        `Event`s of bass and chords.
    """
    for i, slot in enumerate(slots):
        last = i == len(slots) - 1
        if last and held:
            yield from _strike(slot, slot, 0, slot.ticks, "bta", key)
            continue
        for start in range(0, slot.ticks, metre.slot):
            for tick, ticks, voices in _ACCOMPANIMENT[label, metre.slot]:
                yield from _strike(slot, slot if last else slots[i + 1], start + tick, ticks, voices, key)


def _strike(
    slot: ChordSpan, following: ChordSpan, tick: int, ticks: int, voices: str, key: MusicalKey
) -> Iterator[Event]:
    bass, tenor, alto, soprano = (int(pitch) for pitch in slot.voices)
    for voice in voices:
        if voice == "b":
            pitch = bass
        elif voice == "B":
            pitch = _passing(bass, int(following.voices[0]), (LOWEST_BASS - 1, tenor), key, slot.degree)
        elif voice == "f":
            rooted = bass % 12 == key.chord(slot.degree)[0] and bass - 5 >= LOWEST_BASS
            pitch = bass - 5 if rooted else bass
        elif voice == "t":
            pitch = tenor
        elif voice == "a":
            pitch = alto
        else:
            pitch = _passing(alto, int(following.voices[2]), (tenor, soprano), key, slot.degree)
        yield Event(slot.tick + tick, ticks, pitch, "bass" if voice in "bBf" else "chords")


def _passing(pitch: int, goal: int, between: tuple[int, int], key: MusicalKey, degree: int) -> int:
    """Return the scale's note between two a third apart, if within `between`; else the pitch itself."""
    ladder = _ladder(key.scale(degree))
    at, to = bisect_left(ladder, pitch), bisect_left(ladder, goal)
    middle = ladder[(at + to) // 2]
    return middle if abs(to - at) == 2 and between[0] < middle < between[1] else pitch


def drums(start_tick: int, bars: int, label: str, metre: Metre, closing: bool) -> Iterator[Event]:
    """Play a phrase of drums: a cymbal at its start, a fill at its end.

    Args:
        start_tick: start of the phrase in ticks (sixteenth notes).
        bars: number of bars of the phrase.
        label: name of the style, of `LABELS`.
        metre: `Metre` of the piece.
        closing: True ends with one stroke with the last chord instead of the fill.

    Yields:
        `Event`s of the drums.
    """
    for bar in range(bars):
        tick, last = start_tick + bar * metre.bar, bar == bars - 1
        if last and closing:
            yield from (Event(tick, 1, note, "drums") for note in (KICK, CYMBAL))
            continue
        if bar == 0:
            yield Event(tick, 1, CYMBAL, "drums")
        fill = metre.bar - 4 if last else metre.bar
        yield from (Event(tick + at, 1, note, "drums") for at, note in _DRUMS[label, metre.name] if at < fill)
        yield from (Event(tick + at, 1, SNARE, "drums") for at in range(fill, metre.bar, 1 if label == "march" else 2))
