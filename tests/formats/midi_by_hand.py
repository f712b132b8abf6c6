"""MIDI read message by message and played key by key: the slow way that reading at once is held against."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mido

from helicon.formats.midi_events import CHANNELS, CONTROL, NOTE_OFF, NOTE_ON, PROGRAM, RESET, SUSTAIN, Events
from helicon.formats.midi_notes import DRUM_CHANNEL, PEDAL_DOWN
from helicon.formats.score import DRUMS

Row = tuple[int, int, int, int, int, int]  # tick, track, channel, kind, number, value


def rows(events: Events) -> list[Row]:
    """Events one by one."""
    columns = (events.tick, events.track, events.channel, events.kind, events.number, events.value)
    return list(zip(*(column.tolist() for column in columns)))


def rows_of_mido(path: Path) -> tuple[list[Row], list[list[int]], list[int]]:
    """What mido reads in a sound file: events that a score is made of, tempos and ends of the tracks."""
    found: list[Row] = []
    tempos, ends = [], []
    for track, messages in enumerate(mido.MidiFile(path, clip=True).tracks):
        tick, port = 0, 0
        for message in messages:
            tick += message.time
            if message.type == "midi_port":
                port = message.port
            elif message.type == "set_tempo":
                tempos.append([track, tick, message.tempo])
            elif what := _meaning(message):
                found.append((tick, track, port * CHANNELS + message.channel, *what))
        ends.append(tick)
    return found, tempos, ends


def _meaning(message: Any) -> tuple[int, int, int] | None:
    """Kind, number and value of a message that a score is made of."""
    match message.type:
        case "note_on":
            return NOTE_ON, message.note, message.velocity
        case "note_off":
            return NOTE_OFF, message.note, message.velocity
        case "program_change":
            return PROGRAM, message.program, 0
        case "control_change" if message.control in (SUSTAIN, RESET):
            return CONTROL, message.control, message.value
    return None


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
    """Keys and pedal of one channel. held: pitch -> notes whose key is down, oldest first.

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


def play_by_hand(
    events: Iterable[Row], ends: list[int], extend: bool
) -> tuple[list[tuple[int, int, int, int, int]], Counter[str]]:
    """Notes (onset tick, end tick, pitch, velocity, program) in order of key down, and what is counted.

    Of events in the order of the file, tracks that end at these ticks.
    """
    channels: dict[int, Channel] = {}
    notes: list[Note] = []
    counts = Counter[str]()
    for tick, track, number_of_channel, kind, number, value in sorted(events, key=lambda e: (e[0], e[3] != PROGRAM)):
        drums = number_of_channel % CHANNELS == DRUM_CHANNEL
        channel = channels.setdefault(number_of_channel, Channel(DRUMS if drums else 0))
        if kind == NOTE_ON and value:
            notes.append(Note(tick, tick, number, value, channel.program, track))
            channel.strike(notes[-1])
        elif kind in (NOTE_ON, NOTE_OFF):
            counts["note offs without a note"] += not channel.release(tick, number)
        elif kind == CONTROL:
            channel.pedal(tick, extend and number == SUSTAIN and value >= PEDAL_DOWN)
        elif not drums:
            channel.program = number
    for channel in channels.values():
        hanging = [note for held in channel.held.values() for note in held]
        counts["hanging notes"] += len(hanging)
        for note in (*hanging, *channel.ringing.values()):
            note.end = max(note.end, ends[note.track])
    return [(note.onset, note.end, note.pitch, note.velocity, note.program) for note in notes], +counts
