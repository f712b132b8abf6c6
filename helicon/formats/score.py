"""Score: a piece in musical time, the form that MIDI files are read into and written from. Seconds are derived.

Shapes: N notes, M messages, T tracks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np

from helicon.formats.general_midi import CHANNELS, DRUM_CHANNEL, MELODIC_CHANNELS, PROGRAM_CHANGE, PROGRAM_NAMES
from helicon.formats.musical_time import MAX_TEMPO_US, TempoMap, bars

DRUMS = 128  # the `program` of every note of a percussion part
SHORTEST_S = 0.010  # what a note of no length sounds
FINE = 2400  # ticks a quarter: at 2.5 quarters a minute, or any multiple of that, 10 ms are a whole number of ticks

_Columns = TypeVar("_Columns", bound="Columns")


class Track(NamedTuple):
    """Track of a file: its name, empty for none, and its last tick."""

    name: str
    end_tick: int


class Text(NamedTuple):
    """Text event: tick, track, kind (TEXT, LYRIC, MARKER ... of `midi_bytes`) and content."""

    tick: int
    track: int
    kind: int
    text: str


class Columns:
    """Dataclass of arrays of one length."""

    def take(self: _Columns, which: np.ndarray | slice) -> _Columns:
        """Return the rows selected by int indices, a bool mask or a slice, in the order of the selection."""
        return type(self)(**{f.name: getattr(self, f.name)[which] for f in fields(self)})  # type: ignore[arg-type]

    @staticmethod
    def joined(parts: list[_Columns]) -> _Columns:
        """Concatenate the rows of all parts, a list of objects of one class, into an object of it."""
        columns = {f.name: [getattr(part, f.name) for part in parts] for f in fields(parts[0])}  # type: ignore[arg-type]
        return type(parts[0])(**{name: np.concatenate(values) for name, values in columns.items()})


@dataclass(frozen=True, eq=False, kw_only=True)
class Messages(Columns):
    """Channel messages of MIDI, integer arrays [M].

    Attributes:
        tick: time in ticks.
        track: index of the track.
        channel: 0 .. 15 of the first port, 16 more for each further one.
        kind: upper half of the status byte.
        number: first data byte, such as a pitch.
        value: second data byte, such as a velocity.
        place: rank in the file, the order of messages at one track and tick.
    """

    tick: np.ndarray
    track: np.ndarray
    channel: np.ndarray
    kind: np.ndarray
    number: np.ndarray
    value: np.ndarray
    place: np.ndarray

    @staticmethod
    def of(rows: list[tuple[int, ...]]) -> Messages:
        """Build messages from tuples of ints (tick, track, channel, kind, number, value, place), one a message."""
        columns = np.array(rows, np.int64).reshape(-1, 7).T
        return Messages(**{column.name: values for column, values in zip(fields(Messages), columns)})


@dataclass(frozen=True, eq=False, kw_only=True)
class Notes(Columns):
    """Notes, integer arrays [N], sorted by onset, then program, then pitch.

    Attributes:
        onset_tick: tick of the key down.
        off_tick: tick of the key up.
        end_tick: tick where the sound ends, later than `off_tick` if a pedal holds it.
        pitch: 0-127.
        velocity: 1-127.
        program: of General MIDI, 0-127, or DRUMS.
        track: index of the track of the key down.
        off_track: index of the track of the key up.
        channel: 0 .. 15 of the first port, 16 more for each further one.
        on_place: rank of the key down in the file, as `Messages.place`; 0 without a file.
        off_place: rank of the key up, likewise.
    """

    onset_tick: np.ndarray
    off_tick: np.ndarray
    end_tick: np.ndarray
    pitch: np.ndarray
    velocity: np.ndarray
    program: np.ndarray
    track: np.ndarray
    off_track: np.ndarray
    channel: np.ndarray
    on_place: np.ndarray
    off_place: np.ndarray

    def in_order(self) -> Notes:
        """Return the `Notes` sorted by onset, then program, then pitch."""
        return self.take(np.lexsort((self.pitch, self.program, self.onset_tick)))


def _no_rows(width: int) -> np.ndarray:
    return np.zeros((0, width), np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Score:
    """A piece: notes, tempos, metres and all other events, in ticks.

    Attributes:
        ticks_per_quarter: ticks of a quarter note.
        notes: sorted `Notes`.
        tracks: a `Track` each: name and end.
        tempos: int64 [n, 3], columns as in `musical_time`.
        metres: int64 [n, 6], columns as in `musical_time`.
        keys: int64 [n, 4]: tick, track, sharps (flats are negative), 1 for minor.
        messages: `Messages`: programs, pedal, other controllers, bends, pressure.
        texts: `Text`s: lyrics, markers and others.
        label: composer, genre or folder of the piece.
    """

    ticks_per_quarter: int
    notes: Notes
    tracks: tuple[Track, ...]
    tempos: np.ndarray = field(default_factory=lambda: _no_rows(3))
    metres: np.ndarray = field(default_factory=lambda: _no_rows(6))
    keys: np.ndarray = field(default_factory=lambda: _no_rows(4))
    messages: Messages = field(default_factory=lambda: Messages.of([]))
    texts: tuple[Text, ...] = ()
    label: str | None = None

    def __len__(self) -> int:
        return len(self.notes.pitch)

    @property
    def pitch(self) -> np.ndarray:
        """MIDI pitches of the N notes, NumPy integers [N], 0-127."""
        return self.notes.pitch

    @property
    def velocity(self) -> np.ndarray:
        """Velocities of the N notes, NumPy integers [N], 1-127."""
        return self.notes.velocity

    @property
    def program(self) -> np.ndarray:
        """General MIDI programs of the N notes, NumPy integers [N], 0-127, or DRUMS."""
        return self.notes.program

    @cached_property
    def clock(self) -> TempoMap:
        """Conversion of ticks to seconds and back, a `TempoMap`."""
        return TempoMap(self.tempos, self.ticks_per_quarter)

    @cached_property
    def onset_s(self) -> np.ndarray:
        """Onsets of the N notes in seconds, NumPy float64 [N], ascending."""
        return self.clock.seconds(self.notes.onset_tick)

    @cached_property
    def end_s(self) -> np.ndarray:
        """Ends of the N notes in seconds, NumPy float64 [N], later than `onset_s`."""
        end_s = self.clock.seconds(self.notes.end_tick)
        return np.where(end_s > self.onset_s, end_s, self.onset_s + SHORTEST_S)

    @property
    def seconds(self) -> float:
        """Duration: time of the last note's end, in seconds."""
        return float(self.end_s.max()) if len(self) else 0.0

    @property
    def tempo_bpm(self) -> float:
        """Mean tempo over time up to the last note's end, quarters a minute; the initial one without notes."""
        last_tick = max(int(self.notes.end_tick.max(initial=0)), 1)
        return 60 * last_tick / self.ticks_per_quarter / float(self.clock.seconds(last_tick))

    @property
    def bars(self) -> np.ndarray:
        """Bar of the onset of each of the N notes, counted from 0, NumPy int64 [N]."""
        return bars(self.notes.onset_tick, self.metres, self.ticks_per_quarter)

    @staticmethod
    def of(
        onset_s: object, end_s: object, pitch: object, velocity: object, program: object,
        tempo_bpm: float = 120.0, label: str | None = None,
    ) -> Score:  # fmt: skip
        """Build a score of one tempo from notes in seconds, with a track and a channel for each program.

        Programs take channels in ascending order, and further ports when there are more than 15 of them. Times are
        rounded to ticks; every note has at least one. The first track holds no notes.

        Args:
            onset_s: array or list [N], onsets of N notes in seconds.
            end_s: [N], their ends in seconds.
            pitch: [N], MIDI pitches, 0-127.
            velocity: [N], 1-127.
            program: [N], of General MIDI, 0-127, or DRUMS.
            tempo_bpm: quarters a minute.
            label: label of the piece.

        Returns:
            A `Score` of FINE ticks a quarter.
        """
        tempo_us = min(max(round(60e6 / tempo_bpm), 1), MAX_TEMPO_US)
        ticks_per_second = FINE * 1e6 / tempo_us
        onset, end = (np.rint(np.asarray(x, np.float64) * ticks_per_second).astype(np.int64) for x in (onset_s, end_s))
        end = np.maximum(end, onset + 1)
        pitch, velocity, program = (np.asarray(x, np.int16) for x in (pitch, velocity, program))
        programs, track = np.unique(program, return_inverse=True)
        port, place = np.divmod(np.arange(len(programs)), len(MELODIC_CHANNELS))  # DRUMS, the greatest, shifts none
        channels = np.where(programs == DRUMS, DRUM_CHANNEL, port * CHANNELS + np.array(MELODIC_CHANNELS)[place])
        nowhere = np.zeros(len(onset), np.int64)
        notes = Notes(
            onset_tick=onset,
            off_tick=end,
            end_tick=end,
            pitch=pitch,
            velocity=velocity,
            program=program,
            track=track + 1,
            off_track=track + 1,
            channel=channels[track],
            on_place=nowhere,
            off_place=nowhere,
        )
        changes = [
            (0, i + 1, int(channel), PROGRAM_CHANGE, int(number), 0, 0)
            for i, (channel, number) in enumerate(zip(channels, programs))
            if number != DRUMS
        ]
        last_ticks = [int(end[track == i].max()) for i in range(len(programs))]
        names = ["drums" if number == DRUMS else PROGRAM_NAMES[number] for number in programs]
        return Score(
            ticks_per_quarter=FINE,
            notes=notes.take(np.lexsort((velocity, end, pitch, program, onset))),
            tracks=(Track("", 0), *map(Track, names, last_ticks)),
            tempos=np.array([[0, 0, tempo_us]], np.int64),
            messages=Messages.of(changes),
            label=label,
        )

    def at_tempo(self, tempo_bpm: float) -> Score:
        """Return a `Score` of the notes alone, sounding as before, with ticks of another tempo (quarters a minute)."""
        columns = (self.onset_s, self.end_s, self.pitch, self.velocity, self.program)
        return Score.of(*columns, tempo_bpm=tempo_bpm, label=self.label)

    def finer(self) -> Score:
        """Return the same `Score` with FINE ticks a quarter or more."""
        factor = -(-FINE // self.ticks_per_quarter)
        if factor == 1:
            return self
        return self._with_ticks(lambda tick: tick * factor, ticks_per_quarter=self.ticks_per_quarter * factor)

    def between(self, start_s: float, end_s: float) -> Score:
        """Cut an excerpt out of the score.

        Programs, pedals, tempos, metres and keys that hold at `start_s` hold from 0 on. Ticks become those of `finer`.

        Args:
            start_s: begin in seconds; 0 of the excerpt.
            end_s: end in seconds, exclusive; longer notes are cut there.

        Returns:
            A `Score` of the notes with onsets in [start_s, end_s).
        """
        fine = self.finer()
        start, end = fine.clock.ticks(np.array([start_s, end_s])).tolist()
        onset = fine.notes.onset_tick
        cut = replace(
            fine,
            notes=fine.notes.take((onset >= start) & (onset < end)),
            messages=fine.messages.take(fine.messages.tick < end),
            texts=tuple(text for text in fine.texts if start <= text.tick < end),
            **{name: rows[rows[:, 0] < end] for name, rows in fine._rows().items()},
        )
        return cut._with_ticks(lambda tick: np.clip(tick, start, end) - start)

    def _rows(self) -> dict[str, np.ndarray]:
        return {"tempos": self.tempos, "metres": self.metres, "keys": self.keys}

    def _with_ticks(self, moved: Callable[[np.ndarray], np.ndarray], **changes: int) -> Score:
        """Return the score with all ticks mapped by `moved`."""
        notes, texts, tracks = self.notes, self.texts, self.tracks
        at = {name: moved(getattr(notes, name)) for name in ("onset_tick", "off_tick", "end_tick")}
        text_ticks = moved(np.array([text.tick for text in texts], np.int64)).tolist()
        ends = moved(np.array([track.end_tick for track in tracks], np.int64)).tolist()
        return replace(
            self,
            notes=replace(notes, **at),
            messages=replace(self.messages, tick=moved(self.messages.tick)),
            texts=tuple(Text(tick, *text[1:]) for text, tick in zip(texts, text_ticks)),
            tracks=tuple(Track(track.name, tick) for track, tick in zip(tracks, ends)),
            **{name: np.column_stack([moved(rows[:, 0]), rows[:, 1:]]) for name, rows in self._rows().items()},
            **changes,  # type: ignore[arg-type]
        )


def narrow(numbers: np.ndarray) -> np.ndarray:
    """Cast an array of ints from 0 on to the smallest unsigned type that holds them: 16 bits sort in linear time."""
    return numbers.astype(np.min_scalar_type(numbers.max(initial=0)))
