"""Rule-based composer of short pieces of simple counterpoint: training data that needs no download.

A piece is a few phrases of four bars, such as A A B A. A phrase has a chord progression, ends on the dominant (open) or
the tonic (closed), and its four voices are led through the chords; then the style sets rhythm and accompaniment.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helicon.demos.harmony import DOMINANT, SUBDOMINANT, SUBMEDIANT, SUPERTONIC, TONIC, lead, progression
from helicon.demos.styles import LABELS, STYLES, TICKS_PER_QUARTER, PiecePlan, decide
from helicon.demos.texture import FALL, RISE, TURN_DOWN, TURN_UP, WALK, ChordSpan, Event, accompaniment, drums, melody
from helicon.formats.midi_write import write_midi
from helicon.formats.score import DRUMS, Score

BARS = 4  # of a phrase
_LOUDNESS = {"melody": 88, "bass": 72, "chords": 56, "drums": 56}  # MIDI velocities


@dataclass(frozen=True)
class Theme:
    """Music of one letter of a form.

    Attributes:
        degrees: chord degrees, by ending.
        voices: int [chords, 4] pitches, by ending.
        cells: rhythm of the melody in each slot.
        figures: melodic figure in each slot.
    """

    degrees: dict[str, list[int]]
    voices: dict[str, np.ndarray]
    cells: list[tuple[int, ...]]
    figures: list[str]


def compose(seed: int, label: str | None = None) -> Score:
    """Compose a piece of 10 to 30 seconds.

    Onsets and ends lie on a grid of sixteenth notes, rounded to 10 ms; MIDI velocities are multiples of 8.

    Args:
        seed: an int; the same seed and label give the same piece.
        label: style, of `LABELS`; drawn by the seed unless given.

    Returns:
        `Score`, labelled with its style.
    """
    return _composed(seed, label)[1]


def write_folder(directory: str | os.PathLike[str], pieces: int, seed: int) -> list[Path]:
    """Write pieces as `directory/LABEL/LABEL-0001.mid` and on, styles in turn, each with its description as text.

    Args:
        directory: path of the target folder, created if necessary.
        pieces: number of files.
        seed: folders of different seeds have no piece in common.

    Returns:
        Paths of the MIDI files.
    """
    paths = []
    for i in range(pieces):
        label = LABELS[i % len(LABELS)]
        # Far enough apart that folders of different seeds have no piece in common.
        plan, score = _composed(seed * 1_000_003 + i, label)
        paths.append(Path(directory) / label / f"{label}-{i // len(LABELS) + 1:04}.mid")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        write_midi(score, paths[-1], text=plan.caption)
    return paths


def _composed(seed: int, label: str | None) -> tuple[PiecePlan, Score]:
    rng = random.Random(seed)
    plan = decide(label if label is not None else rng.choice(LABELS), rng)
    themes = {letter: _theme(plan, letter, rng) for letter in sorted({letter for letter, _ in plan.form})}
    heard: set[str] = set()
    events: list[tuple[Event, int]] = []
    for number, (letter, ending) in enumerate(plan.form):
        theme = _varied(themes[letter], plan, rng) if letter in heard else themes[letter]
        heard.add(letter)
        closing = number == len(plan.form) - 1
        louder = 8 * closing - 8 * (letter == "B")
        phrase = _phrase(plan, theme, number * BARS * plan.metre.bar, ending, closing)
        events += [(event, _velocity(event, plan, louder)) for event in phrase]
    return plan, _score(plan, events)


def _theme(plan: PiecePlan, letter: str, rng: random.Random) -> Theme:
    """Compose chords, voices and motif of a letter; both endings share the first half."""
    count = BARS * plan.metre.bar // plan.metre.slot
    body = count // 2
    starts = (TONIC,) if letter == "A" else (SUBMEDIANT, SUBDOMINANT)
    before = SUBDOMINANT if plan.key.minor else rng.choice((SUBDOMINANT, SUPERTONIC))
    if count == 2 * BARS:  # two chords a bar, of which the last lasts a whole bar
        closed, opened = [before, DOMINANT, TONIC], [SUBDOMINANT, TONIC, DOMINANT]
    else:
        closed, opened = [DOMINANT, TONIC], [before, DOMINANT]
    degrees = progression(plan.key, starts, body, (closed[0], opened[0]), rng)
    # The phrase rises and falls once, B higher than A.
    low, high = (67, 72) if letter == "A" else (70, 76)
    contour = [low + (high - low) * math.sin(math.pi * i / (count - 1)) + rng.uniform(-1.5, 1.5) for i in range(count)]
    first = lead(plan.key, degrees, contour, rng)
    home = 64 + (plan.key.tonic - 64) % 12  # a closed phrase would like to end on the tonic in the soprano, too
    endings = {"closed": (closed, [*contour[body : body + len(closed) - 1], home]), "open": (opened, contour[body:])}
    voices = {
        name: np.concatenate([first, lead(plan.key, ending, wishes, rng, before=first[-1])])
        for name, (ending, wishes) in endings.items()
    }
    cells, figures = _motif(plan, count, rng)
    return Theme({name: degrees + ending for name, (ending, _) in endings.items()}, voices, cells, figures)


def _motif(plan: PiecePlan, count: int, rng: random.Random) -> tuple[list[tuple[int, ...]], list[str]]:
    """Draw rhythm and figure of each slot: two of each, in turn, so that the phrase has a motif."""
    cells = rng.sample(STYLES[plan.label].cells[plan.metre.slot], 2)
    figures = rng.sample(_figures(plan), 2)
    order = rng.choice(((0, 1, 0, 1), (0, 0, 1, 1), (0, 1, 0, 0)))
    chosen = [order[i % 4] for i in range(count)]
    return [cells[i] for i in chosen], [figures[i] for i in chosen]


def _figures(plan: PiecePlan) -> tuple[str, ...]:
    """Return the melodic figures of the style: steps for chorales, leaps within the chord too for others."""
    return (WALK, WALK, TURN_DOWN) if plan.label == "chorale" else (WALK, WALK, TURN_UP, TURN_DOWN, RISE, FALL)


def _varied(theme: Theme, plan: PiecePlan, rng: random.Random) -> Theme:
    """Return the theme with another rhythm and figure in one slot."""
    cells, figures, at = list(theme.cells), list(theme.figures), rng.randrange(len(theme.cells) - 2)
    cells[at] = rng.choice(STYLES[plan.label].cells[plan.metre.slot])
    figures[at] = rng.choice(_figures(plan))
    return Theme(theme.degrees, theme.voices, cells, figures)


def _phrase(plan: PiecePlan, theme: Theme, tick: int, ending: str, closing: bool) -> Iterable[Event]:
    """Yield the events of all parts of a phrase that begins at `tick`."""
    degrees, voices = theme.degrees[ending], theme.voices[ending]
    slot, end = plan.metre.slot, tick + BARS * plan.metre.bar
    starts = [tick + i * slot for i in range(len(degrees))]
    lengths = [slot] * (len(degrees) - 1) + [end - starts[-1]]
    slots = [ChordSpan(*span) for span in zip(starts, lengths, degrees, voices)]
    yield from melody(slots, theme.cells, theme.figures, plan.key)
    yield from accompaniment(slots, plan.label, plan.metre, plan.key, held=closing)
    if STYLES[plan.label].drums:
        yield from drums(tick, BARS, plan.label, plan.metre, closing)


def _velocity(event: Event, plan: PiecePlan, louder: int) -> int:
    """Return the velocity, a multiple of 8: louder on first beats and in the middle of a phrase."""
    bar, tick = divmod(event.tick, plan.metre.bar)
    accent = 8 * (tick == 0) + 8 * (bar % BARS in (1, 2))
    return min(max(_LOUDNESS[event.part] + accent + louder, 24), 120)


def _score(plan: PiecePlan, events: list[tuple[Event, int]]) -> Score:
    """Convert events to a score; a note ends where its instrument strikes the same pitch again."""
    programs = {"melody": plan.ensemble.melody, "chords": plan.ensemble.chords, "bass": plan.ensemble.bass}
    programs["drums"] = DRUMS
    notes: dict[tuple[int, int, int], tuple[int, int]] = {}  # (program, pitch, tick) -> ticks, velocity
    for event, velocity in events:
        lift = plan.ensemble.lift if event.part == "melody" else 0
        # The melody comes first, and wins where two parts strike the same note.
        notes.setdefault((programs[event.part], event.pitch + lift, event.tick), (event.ticks, velocity))
    ordered = sorted(notes)
    rows = []
    for this, following in zip(ordered, [*ordered[1:], (-1, -1, -1)]):
        ticks, velocity = notes[this]
        end = this[2] + ticks
        if following[:2] == this[:2]:
            end = min(end, following[2])
        rows.append((_seconds(this[2], plan), _seconds(end, plan), this[1], velocity, this[0]))
    return Score.of(*zip(*rows), tempo_bpm=plan.tempo_bpm, label=plan.label)


def _seconds(tick: int, plan: PiecePlan) -> float:
    return round(tick / TICKS_PER_QUARTER * 60 / plan.tempo_bpm, 2)
