"""MIDI events of all tracks -> notes: one order of events, one tempo map, and the state of each port's channels."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field

import mido
import numpy as np

from helicon.formats.score import DRUMS, ReadReport

DRUM_CHANNEL = 9  # counted from 0: channel 10 in every manual
DEFAULT_TEMPO_US = 500_000  # microseconds a quarter
SUSTAIN, PEDAL_DOWN = 64, 64  # the control, and the value from which on the pedal is down

# One event: tick, rank, order, track, (port, channel), what, number, value. The first three sort.
Event = tuple[int, int, int, int, tuple[int, int], str, int, int]


@dataclass
class Stream:
    """All tracks in one order. tempos: (tick, microseconds a quarter). ends: each track's last tick."""

    events: list[Event] = field(default_factory=list)
    tempos: list[tuple[int, int]] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)


def merge(tracks: list[mido.MidiTrack], report: ReadReport) -> Stream:
    """Tracks in order of time; at equal ticks as in the file, but that programs come before notes of any track."""
    stream = Stream()
    for index, track in enumerate(tracks):
        tick, port = 0, 0
        for message in track:
            tick += message.time
            kind = message.type
            if kind in ("note_on", "note_off"):
                number, value = message.note, message.velocity if kind == "note_on" else 0
                what = "on" if value else "off"
            elif kind == "program_change":
                what, number, value = "program", message.program, 0
            elif kind == "control_change":
                what, number = "pedal", message.control
                value = message.value if number == SUSTAIN else 0  # the other one kept resets all controllers
            else:
                if kind == "midi_port":
                    port = message.port
                elif kind == "set_tempo":
                    stream.tempos.append((tick, message.tempo))
                continue
            channel = (port, message.channel)
            order = len(stream.events)
            stream.events.append((tick, what != "program", order, index, channel, what, number, value))
        stream.ends.append(tick)
    report.add("tempos of 0 ignored", sum(tempo_us == 0 for _, tempo_us in stream.tempos))
    stream.tempos = [tempo for tempo in stream.tempos if tempo[1]]
    stream.events.sort()
    stream.tempos.sort(key=lambda tempo: tempo[0])  # stable: of several at one tick the file's last one holds
    return stream


class Clock:
    """Ticks -> seconds and quarters, by the tempos (tick, microseconds a quarter) of all tracks."""

    def __init__(self, tempos: list[tuple[int, int]], ticks_per_quarter: float) -> None:
        self._per_quarter = ticks_per_quarter
        self._tick, tempo_us = np.array([(0, DEFAULT_TEMPO_US), *tempos], np.int64).T
        self._tick_s = tempo_us / 1e6 / self._per_quarter
        self._at_s = np.concatenate([[0.0], np.cumsum(np.diff(self._tick) * self._tick_s[:-1])])

    def seconds(self, ticks: np.ndarray | int) -> np.ndarray:
        """Time at these ticks."""
        i = np.searchsorted(self._tick, ticks, side="right") - 1
        return self._at_s[i] + (ticks - self._tick[i]) * self._tick_s[i]

    def quarters(self, ticks: int) -> float:
        """Quarters from the start to this tick."""
        return ticks / self._per_quarter


@dataclass(slots=True)
class Note:
    """Ticks; `track` is where its key went down."""

    onset: int
    end: int
    pitch: int
    velocity: int
    program: int
    track: int


@dataclass
class Channel:
    """Keys and pedal of one channel of one port. held: pitch -> notes whose key is down, oldest first.

    ringing: (pitch, program) -> the note that only the pedal holds.
    """

    program: int
    pedal_down: bool = False
    held: defaultdict[int, deque[Note]] = field(default_factory=lambda: defaultdict(deque))
    ringing: dict[tuple[int, int], Note] = field(default_factory=dict)

    def strike(self, note: Note) -> None:
        """Key down. What rings of the same pitch and program is struck again, so it ends."""
        if old := self.ringing.pop((note.pitch, note.program), None):
            old.end = note.onset
        self.held[note.pitch].append(note)

    def release(self, tick: int, pitch: int) -> bool:
        """Key up: ends the oldest note of that pitch, or leaves it to the pedal. False if there is none."""
        if not self.held[pitch]:
            return False
        note = self.held[pitch].popleft()
        note.end = tick
        struck_again = any(other.program == note.program for other in self.held[pitch])
        if self.pedal_down and not struck_again:
            self.ringing[pitch, note.program] = note
        return True

    def pedal(self, tick: int, down: bool) -> None:
        """Pedal up ends all that rings."""
        self.pedal_down = down
        if not down:
            for note in self.ringing.values():
                note.end = tick
            self.ringing.clear()


def play(stream: Stream, extend: bool, report: ReadReport) -> np.ndarray:
    """Notes [N, 5], int64: onset tick, end tick, pitch, velocity, program."""
    channels: dict[tuple[int, int], Channel] = {}
    notes: list[Note] = []
    for tick, _, _, track, key, what, number, value in stream.events:
        channel = channels.get(key)
        if channel is None:
            channel = channels[key] = Channel(program=DRUMS if key[1] == DRUM_CHANNEL else 0)
        if what == "on":
            notes.append(Note(tick, tick, number, value, channel.program, track))
            channel.strike(notes[-1])
        elif what == "off":
            if not channel.release(tick, number):
                report.add("note offs without a note")
        elif what == "pedal":
            channel.pedal(tick, extend and value >= PEDAL_DOWN)
        elif key[1] != DRUM_CHANNEL:
            channel.program = number
    for channel in channels.values():
        hanging = [note for held in channel.held.values() for note in held]
        report.add("hanging notes", len(hanging))
        for note in (*hanging, *channel.ringing.values()):
            note.end = max(note.end, stream.ends[note.track])
    rows = [(note.onset, note.end, note.pitch, note.velocity, note.program) for note in notes]
    return np.array(rows, np.int64).reshape(-1, 5)
