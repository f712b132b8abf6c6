"""Instrument tables: the instrument, volume and pitch, or the wait, that each id of a music block stands for.

A table declares instruments; every id derives from their order. `MUSENET` is the table of the deployed MuseNet;
`general_midi` makes one from the General MIDI families that occur in a folder.

Shapes: V ids of the block, I instruments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from helicon.formats.checked import fields, integers, sequence, text, texts
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.formats.score import DRUMS
from helicon.tokenizers.survey import MusicSurvey

PITCHES = 128  # of MIDI
LONGEST_WAIT = 128  # units, in one token
UNITS_PER_SECOND = 100  # time unit of 10 ms
VOLUMES = tuple(range(24, 121, 8))  # MIDI velocities, as in MuseNet's table
MAX_LEVELS = 4096  # volumes of all instruments: a bound for tables from elsewhere
FAMILIES = (
    "piano", "chromatic", "organ", "guitar", "bass", "strings", "ensemble", "brass",
    "reed", "pipe", "lead", "pad", "effects", "ethnic", "percussive", "sounds",
)  # fmt: skip  # eight programs each, in the order of General MIDI
# Names of the pitches of an octave, from C up
_STEPS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


def pitch_name(pitch: int) -> str:
    """Return the name of a MIDI pitch, an int 0 .. 127, with sharps, such as `C#4`.

    As in MuseNet's published sample the octave's number turns over at A, not at C: in it B4 is below D4. We read the
    label C4 as middle C (60), which makes the B just below it (59) B4 and the A above it (69) A5.
    """
    return f"{_STEPS[pitch % 12]}{(pitch + 3) // 12 - 1}"


@dataclass(frozen=True)
class Instrument:
    """Instrument of a table.

    Attributes:
        name: in token names, such as `piano`.
        programs: that it stands for, General MIDI or DRUMS; decoding writes the first.
        levels: volumes in the order of their ids, 128 pitches each; level 0 is the note-off, which drums lack.
        group: word in an instruments set, such as `strings`.
    """

    name: str
    programs: tuple[int, ...]
    levels: tuple[int, ...]
    group: str

    def __post_init__(self) -> None:
        if not self.programs or not self.volumes or len(set(self.levels)) != len(self.levels):
            raise ValueError(f"instrument {self.name!r} needs a program and a volume, and none of them twice")
        if self.is_drums == (0 in self.levels):
            raise ValueError(f"instrument {self.name!r}: note-offs (level 0) are for all but drums")
        if set("_: ") & set(self.name + self.group):
            raise ValueError(f"instrument {self.name!r}: names and groups may not contain '_', ':' or spaces")

    @property
    def is_drums(self) -> bool:
        """True for drums, whose notes have no note-off."""
        return DRUMS in self.programs

    @property
    def volumes(self) -> tuple[int, ...]:
        """Volumes (MIDI velocities) of the note-ons, ascending."""
        return tuple(sorted(level for level in self.levels if level))


@dataclass(frozen=True)
class InstrumentTable:
    """Instruments in the order of their ids, then waits 1 .. LONGEST_WAIT; `groups` in the order of a set's words.

    The arrays are lookups by id ([V]) or by instrument ([I]), for vectorised encoding and for the grammar.
    """

    instruments: tuple[Instrument, ...]
    groups: tuple[str, ...]

    def __post_init__(self) -> None:
        programs = [program for row in self.instruments for program in row.programs]
        if not self.instruments or len(set(programs)) != len(programs):
            raise ValueError("a table needs instruments, and a program may belong to one of them only")
        if set(self.groups) != {row.group for row in self.instruments}:
            raise ValueError(f"groups {printable(self.groups, MAX_QUOTED)} are not those of the instruments")
        if sum(len(row.levels) for row in self.instruments) > MAX_LEVELS:
            raise ValueError(f"a table of more than {MAX_LEVELS:,} volumes in all, of 128 tokens each")

    @cached_property
    def names(self) -> set[str]:
        """Set of the names of instruments and of groups."""
        return {row.name for row in self.instruments} | set(self.groups)

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """Token names of all ids, in order of the ids, such as `piano:v72:G1` and `wait:12`."""
        names = [pitch_name(pitch) for pitch in range(PITCHES)]
        events = [f"{row.name}:v{level}:{name}" for row in self.instruments for level in row.levels for name in names]
        return (*events, *(f"wait:{n}" for n in range(1, LONGEST_WAIT + 1)))

    @cached_property
    def _levels(self) -> np.ndarray:
        """Instrument and level of each run of 128 ids, int64 [runs, 2]."""
        return np.array([(i, level) for i, row in enumerate(self.instruments) for level in row.levels], np.int64)

    @cached_property
    def first_wait(self) -> int:
        """Id of `wait:1`."""
        return len(self._levels) * PITCHES

    @cached_property
    def wait(self) -> np.ndarray:
        """Units of 10 ms that each id waits, NumPy int64 [V] for the V ids of the block; 0 for events."""
        waits = np.arange(1, LONGEST_WAIT + 1)
        return np.concatenate([np.zeros(self.first_wait, np.int64), waits])

    @cached_property
    def instrument(self) -> np.ndarray:
        """Index of each id's instrument, NumPy int64 [V] for the V ids of the block; -1 for waits."""
        return np.concatenate([np.repeat(self._levels[:, 0], PITCHES), np.full(LONGEST_WAIT, -1)])

    @cached_property
    def volume(self) -> np.ndarray:
        """MIDI velocity of each id's note-on, NumPy int64 [V] for the V ids of the block.

        0 for note-offs, -1 for waits.
        """
        return np.concatenate([np.repeat(self._levels[:, 1], PITCHES), np.full(LONGEST_WAIT, -1)])

    @cached_property
    def pitch(self) -> np.ndarray:
        """MIDI pitch of each id, NumPy int64 [V] for the V ids of the block; -1 for waits."""
        return np.concatenate([np.tile(np.arange(PITCHES), len(self._levels)), np.full(LONGEST_WAIT, -1)])

    @cached_property
    def rank(self) -> np.ndarray:
        """Rank of each of the V ids in the canonical order of events within one tick, NumPy int64 [V]; -1 for waits.

        Drums, then ascending pitch; at one pitch the later instrument of the table first (violin before piano).
        """
        count = len(self.instruments)
        melodic = PITCHES + self.pitch * count + (count - 1 - self.instrument)
        rank = np.where(self.instrument == self.drums, self.pitch, melodic)
        return np.where(self.wait > 0, -1, rank)

    @cached_property
    def drums(self) -> int:
        """Index of the drums among the instruments, or the number of instruments where there are none."""
        return next((i for i, row in enumerate(self.instruments) if row.is_drums), len(self.instruments))

    @cached_property
    def by_program(self) -> np.ndarray:
        """Index of the instrument of each program, NumPy int64 [129]: General MIDI 0 .. 127, DRUMS; -1 without any.

        A program of no instrument goes to the piano, or else to the first that is not drums; drums have no substitute.
        """
        melodic = [i for i, row in enumerate(self.instruments) if not row.is_drums]
        piano = [i for i in melodic if 0 in self.instruments[i].programs]
        table = np.full(DRUMS + 1, (piano + melodic + [-1])[0])
        table[DRUMS] = -1
        for i, row in enumerate(self.instruments):
            table[list(row.programs)] = i
        return table

    @cached_property
    def has_program(self) -> np.ndarray:
        """Mask of the programs that an instrument of the table names, NumPy bool [129]: General MIDI 0 .

        127, DRUMS.
        """
        return np.isin(np.arange(DRUMS + 1), [program for row in self.instruments for program in row.programs])

    @cached_property
    def on(self) -> np.ndarray:
        """Id of the note-on at pitch 0 with the volume nearest to a velocity; halfway rounds up.

        NumPy int64 [I, 128]: I instruments, MIDI velocities 0 .. 127. The note-on at pitch p has the id plus p.
        """
        velocities = np.arange(PITCHES)[:, None]
        rows = []
        for i, row in enumerate(self.instruments):
            volumes = np.array(row.volumes[::-1])
            rows.append(self.on_by_bin[i][len(volumes) - 1 - np.abs(velocities - volumes).argmin(1)])
        return np.stack(rows)

    @cached_property
    def on_by_bin(self) -> np.ndarray:
        """Id of the note-on at pitch 0 with the n-th lowest volume; -1 beyond the last.

        NumPy int64 [I, N]: I instruments, N volumes of the instrument that has most.
        """
        table = np.full((len(self.instruments), max(len(row.volumes) for row in self.instruments)), -1)
        for i, row in enumerate(self.instruments):
            table[i, : len(row.volumes)] = [self._run(i, volume) for volume in row.volumes]
        return table

    @cached_property
    def bin(self) -> np.ndarray:
        """Column of each id's volume in `on_by_bin`, NumPy int64 [V] for the V ids of the block.

        -1 for all but note-ons.
        """
        bins = np.full(len(self.wait), -1)
        for row in self.on_by_bin:
            for n, first in enumerate(row[row >= 0]):
                bins[first : first + PITCHES] = n
        return bins

    @cached_property
    def off(self) -> np.ndarray:
        """Id of the note-off at pitch 0, NumPy int64 [I] for the I instruments; -1 for drums."""
        return np.array([-1 if row.is_drums else self._run(i, 0) for i, row in enumerate(self.instruments)])

    def _run(self, instrument: int, level: int) -> int:
        return PITCHES * int(np.flatnonzero((self._levels == (instrument, level)).all(1))[0])

    def state(self) -> dict[str, Any]:
        """Return the state, a JSON-able dict that `from_state` restores: `instruments` and `groups`, lists in order."""
        rows = [[row.name, list(row.programs), list(row.levels), row.group] for row in self.instruments]
        return {"instruments": rows, "groups": list(self.groups)}

    @staticmethod
    def from_state(state: dict[str, Any]) -> InstrumentTable:
        """Restore a table from the dict that `state` returns; ValueError for anything else."""
        state = fields("table", state, ("instruments", "groups"))  # type: ignore[assignment]
        rows = []
        for row in sequence("instruments", state["instruments"], DRUMS + 1):
            name, programs, levels, group = (*sequence("instrument", row, 4), None, None, None, None)[:4]
            plays = tuple(integers("programs", programs, DRUMS + 1, 0, DRUMS))
            volumes = tuple(integers("levels", levels, PITCHES, 0, PITCHES - 1))
            rows.append(Instrument(text("instrument", name), plays, volumes, text("group", group)))
        return InstrumentTable(tuple(rows), tuple(texts("groups", state["groups"], DRUMS + 1)))


def _programs(first: int, *ranges: tuple[int, int]) -> tuple[int, ...]:
    """Return `first`, then the other programs of the ranges, ends included."""
    return (first, *(p for low, high in ranges for p in range(low, high + 1) if p != first))


def _musenet() -> InstrumentTable:
    named: Sequence[tuple[str, tuple[int, ...], str]] = [
        ("violin", _programs(40, (40, 41), (44, 45), (48, 51)), "strings"),
        ("cello", _programs(42, (42, 43)), "strings"),
        ("bass", _programs(32, (32, 39)), "bass"),
        ("guitar", _programs(24, (24, 31)), "guitar"),
        ("flute", _programs(73, (72, 79)), "winds"),
        ("clarinet", _programs(71, (64, 71)), "winds"),
        ("trumpet", _programs(56, (56, 63)), "winds"),
        ("harp", (46,), "harp"),
    ]
    taken = {program for _, programs, _ in named for program in programs}
    piano = Instrument("piano", tuple(p for p in range(DRUMS) if p not in taken), (0, *VOLUMES), "piano")
    held = [Instrument(name, programs, (80, 0), group) for name, programs, group in named]
    drums = Instrument("drums", (DRUMS,), (80,), "drums")
    groups = ("piano", "strings", "bass", "guitar", "harp", "winds", "drums")
    return InstrumentTable((piano, *held, drums), groups)


MUSENET = _musenet()


def general_midi(survey: MusicSurvey, margin: int = 1) -> InstrumentTable:
    """Make a table of the General MIDI families that occur in a folder.

    Args:
        survey: `MusicSurvey`, counts over the folder's scores.
        margin: number of volumes, steps of 8 in velocity, added above and below those that occur, for augmentation.

    Returns:
        Table with an instrument for each family, which is written with its commonest program.

    Raises:
        ValueError: the survey has no notes.
    """
    if not survey.notes:
        raise ValueError("no notes to choose instruments from")
    rows = []
    for i, name in enumerate(FAMILIES):
        family = range(8 * i, 8 * i + 8)
        if any(survey.notes[program] for program in family):
            commonest = max(family, key=lambda program: (survey.notes[program], -program))
            volumes = _volumes(survey, family, margin)
            rows.append(Instrument(name, _programs(commonest, (family[0], family[-1])), (0, *volumes), name))
    if survey.notes[DRUMS]:
        rows.append(Instrument("drums", (DRUMS,), _volumes(survey, [DRUMS], margin), "drums"))
    return InstrumentTable(tuple(rows), tuple(row.name for row in rows))


def _volumes(survey: MusicSurvey, programs: Sequence[int], margin: int) -> tuple[int, ...]:
    ranges = [survey.velocities[program] for program in programs if program in survey.velocities]
    low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
    nearest = [min(VOLUMES, key=lambda volume: (abs(volume - velocity), -volume)) for velocity in (low, high)]
    first, last = (VOLUMES.index(volume) for volume in nearest)
    return VOLUMES[max(0, first - margin) : last + 1 + margin]
