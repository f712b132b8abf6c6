"""Styles of made-up pieces, and the draw of a piece's plan: key, metre, tempo, instruments, form."""

from __future__ import annotations

import random
from dataclasses import dataclass

from helicon.demos.harmony import MusicalKey

TICKS_PER_QUARTER = 4  # the grid: sixteenth notes
LONGEST_S = 29.5  # of a piece, in seconds


@dataclass(frozen=True)
class Metre:
    """Metre: its name, such as "3/4"; ticks (sixteenth notes) in a bar, and in a slot, the time of one chord."""

    name: str
    bar: int
    slot: int


COMMON, WALTZ, JIG = Metre("4/4", 16, 8), Metre("3/4", 12, 12), Metre("6/8", 12, 6)


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Instruments of a piece: General MIDI programs of melody, chords and bass.

    Attributes:
        name: in words, for captions.
        melody: program.
        chords: program.
        bass: program.
        lift: semitones by which the melody is transposed up.
    """

    name: str
    melody: int
    chords: int
    bass: int
    lift: int = 0


@dataclass(frozen=True, kw_only=True)
class CompositionStyle:
    """Style of pieces, from which plans are drawn.

    Attributes:
        metres: to choose from.
        tempos_bpm: least and greatest tempo, quarters a minute.
        ensembles: to choose from.
        cells: rhythms of the melody within a slot, by the slot's ticks.
        drums: pieces have a drum part.
    """

    metres: tuple[Metre, ...]
    tempos_bpm: tuple[int, int]
    ensembles: tuple[Ensemble, ...]
    cells: dict[int, tuple[tuple[int, ...], ...]]
    drums: bool = False


STYLES = {
    "chorale": CompositionStyle(
        metres=(COMMON, WALTZ),
        tempos_bpm=(70, 110),
        ensembles=(
            Ensemble(name="piano", melody=0, chords=0, bass=0),
            Ensemble(name="organ", melody=19, chords=19, bass=19),
            Ensemble(name="strings", melody=48, chords=48, bass=48),
            Ensemble(name="piano and strings", melody=0, chords=48, bass=48),
        ),
        cells={8: ((4, 4), (4, 2, 2), (6, 2)), 12: ((4, 4, 4), (8, 4), (4, 4, 2, 2))},
    ),
    "duet": CompositionStyle(
        metres=(COMMON, WALTZ, JIG),
        tempos_bpm=(80, 120),
        ensembles=(
            Ensemble(name="flute and guitar", melody=73, chords=24, bass=24, lift=12),
            Ensemble(name="violin and piano", melody=40, chords=0, bass=0),
            Ensemble(name="clarinet and piano", melody=71, chords=0, bass=0),
            Ensemble(name="piano", melody=0, chords=0, bass=0),
        ),
        cells={
            6: ((4, 2), (2, 2, 2), (3, 1, 2)),
            8: ((4, 2, 2), (2, 2, 2, 2), (6, 2), (4, 4)),
            12: ((4, 4, 4), (6, 2, 4), (4, 2, 2, 4), (8, 2, 2)),
        },
    ),
    "dance": CompositionStyle(
        metres=(COMMON, WALTZ, JIG),
        tempos_bpm=(100, 140),
        ensembles=(
            Ensemble(name="flute, guitar, bass and drums", melody=73, chords=24, bass=32, lift=12),
            Ensemble(name="violin, piano, bass and drums", melody=40, chords=0, bass=32),
            Ensemble(name="piano, guitar, bass and drums", melody=0, chords=25, bass=32),
        ),
        cells={
            6: ((4, 2), (2, 2, 2)),
            8: ((2, 2, 2, 2), (4, 2, 2), (2, 4, 2)),
            12: ((4, 4, 4), (6, 2, 4), (4, 2, 2, 2, 2)),
        },
        drums=True,
    ),
    "march": CompositionStyle(
        metres=(COMMON,),
        tempos_bpm=(100, 125),
        ensembles=(
            Ensemble(name="trumpet, brass, tuba and drums", melody=56, chords=61, bass=58),
            Ensemble(name="clarinet, horns, tuba and drums", melody=71, chords=60, bass=58),
            Ensemble(name="piano and drums", melody=0, chords=0, bass=0),
        ),
        cells={8: ((3, 1, 4), (3, 1, 2, 2), (4, 4), (6, 2))},
        drums=True,
    ),
}
LABELS = tuple(STYLES)

# Phrases of four bars: a letter for its music, and whether it ends open, on the dominant, or closed, on the tonic.
FORMS = (  # from short to long; a piece has the longest that its tempo leaves time for
    (("A", "open"), ("A", "closed")),
    (("A", "open"), ("B", "open"), ("A", "closed")),
    (("A", "open"), ("A", "closed"), ("B", "open"), ("A", "closed")),
)


@dataclass(frozen=True, kw_only=True)
class PiecePlan:
    """All decisions about a piece but its notes."""

    label: str
    key: MusicalKey
    metre: Metre
    tempo_bpm: int
    ensemble: Ensemble
    form: tuple[tuple[str, str], ...]

    @property
    def caption(self) -> str:
        """Description of the piece in words."""
        return (
            f"{self.label} in {self.key.name} for {self.ensemble.name}, {self.metre.name}, "
            f"{self.tempo_bpm} quarter notes a minute"
        )


def decide(label: str, rng: random.Random) -> PiecePlan:
    """Draw the plan of a piece.

    Args:
        label: name of the style, of `LABELS`.
        rng: generator of Python's `random`.

    Returns:
        A `PiecePlan`, its form as long as the tempo allows.

    Raises:
        ValueError: there is no such style.
    """
    if label not in STYLES:
        raise ValueError(f"no style {label!r}; there are {', '.join(LABELS)}")
    style = STYLES[label]
    minor = rng.random() < 0.4
    key = MusicalKey(rng.choice((9, 2, 4, 7, 0) if minor else (0, 7, 2, 5, 10, 9)), minor)
    metre = rng.choice(style.metres)
    tempo_bpm = rng.randrange(style.tempos_bpm[0], style.tempos_bpm[1] + 1, 5)
    phrase_s = 4 * metre.bar / TICKS_PER_QUARTER * 60 / tempo_bpm
    form = [form for form in FORMS if len(form) * phrase_s <= LONGEST_S][-1]
    return PiecePlan(
        label=label, key=key, metre=metre, tempo_bpm=tempo_bpm, ensemble=rng.choice(style.ensembles), form=form
    )
