"""MIDI read message by message and played key by key: the slow way that reading at once is held against."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import mido

from helicon.formats.general_midi import (
    BANK,
    CHANNELS,
    CONTROL,
    DRUM_CHANNEL,
    NOTE_OFF,
    NOTE_ON,
    PART_MODE,
    PROGRAM_CHANGE,
    RESET,
    SUSTAIN,
)
from helicon.formats.midi_notes import LONGEST_HANGING, PEDAL_DOWN
from helicon.formats.score import DRUMS, Messages

Row = tuple[int, int, int, int, int, int]  # tick, track, channel, kind, number, value


def rows(messages: Messages) -> list[Row]:
    """Messages one by one."""
    columns = (messages.tick, messages.track, messages.channel, messages.kind, messages.number, messages.value)
    return list(zip(*(column.tolist() for column in columns)))


def rows_of_mido(path: Path) -> tuple[list[Row], list[list[int]], list[int]]:
    """What mido reads in a sound file: messages of channels, tempos and ends of the tracks."""
    found: list[Row] = []
    tempos, ends = [], []
    for track, messages in enumerate(mido.MidiFile(path, clip=True).tracks):
        tick, port = 0, 0
        for message in messages:
            tick += message.time
            if message.type == "midi_port":
                port = message.port
            elif message.type == "set_tempo":
                tempos.append([tick, track, message.tempo])
            elif what := _meaning(message):
                found.append((tick, track, port * CHANNELS + message.channel, *what))
        ends.append(tick)
    return found, tempos, ends


def _meaning(message: Any) -> tuple[int, int, int] | None:
    """Kind, number and value of a message of a channel."""
    match message.type:
        case "note_on":
            return NOTE_ON, message.note, message.velocity
        case "note_off":
            return NOTE_OFF, message.note, message.velocity
        case "polytouch":
            return 0xA, message.note, message.value
        case "control_change":
            return CONTROL, message.control, message.value
        case "program_change":
            return PROGRAM_CHANGE, message.program, 0
        case "aftertouch":
            return 0xD, message.value, 0
        case "pitchwheel":
            return 0xE, (message.pitch + 8192) & 127, (message.pitch + 8192) >> 7
    return None


def _rank(row: Row) -> int:
    _, _, _, kind, number, _ = row
    return 0 if kind == PART_MODE or (kind == CONTROL and number == BANK) else 1 if kind == PROGRAM_CHANGE else 2


class Room:
    """All messages in order of time, and which of them each hears. A part is (channel, track), or (channel, None)."""

    def __init__(self, events: Iterable[Row]) -> None:
        self.rows = sorted(events, key=lambda row: (row[0], _rank(row)))
        plays, sets = defaultdict(set), defaultdict(set)
        for _, track, channel, kind, _, value in self.rows:
            if kind == NOTE_ON and value:
                plays[channel].add(track)
            elif kind == PROGRAM_CHANGE:
                sets[channel].add(track)
        own = {(c, t) for c, tracks in plays.items() if len(tracks | sets[c]) > 1 for t in tracks & sets[c]}
        self.parts = [(row[2], row[1] if (row[2], row[1]) in own else None) for row in self.rows]
        self.shared = bool(own)

    def heard(self, wanted: Callable[[Row], bool]) -> Callable[..., int | None]:
        """A search among the messages that are wanted: the last before a place, or the first after it."""
        lists: dict[Any, list[int]] = defaultdict(list)
        for i, row in enumerate(self.rows):
            if wanted(row):
                lists[self.parts[i]].append(i)
                lists[row[2], "all"].append(i)

        def nearest(found: list[int], at: int, after: bool) -> int | None:
            i = bisect_left(found, at)
            return (found[i] if i < len(found) else None) if after else (found[i - 1] if i else None)

        def search(of: int, at: int, after: bool = False) -> int | None:
            part = self.parts[of]
            channel = part[0]
            if part[1] is not None and part in lists:
                both = [nearest(lists.get(key, []), at, after) for key in (part, (channel, None))]
                known = [i for i in both if i is not None]  # the part's own first: at one tick it is what is heard
                if known:
                    return min(known) if after else max(known, key=lambda i: self.rows[i][0])
            return nearest(lists.get((channel, "all"), []), at, after)

        return search


def play_by_hand(
    events: Iterable[Row], ends: list[int], extend: bool, ticks_per_quarter: int
) -> tuple[list[tuple[int, int, int, int, int]], Counter[str]]:
    """Notes (onset tick, end tick, pitch, velocity, program), sorted, and what is counted.

    Of messages in the order of the file, tracks that end at these ticks.
    """
    room, counts = Room(events), Counter[str]()
    never = len(room.rows)
    off_of: dict[int, int] = {}
    sounding: dict[Any, deque[int]] = defaultdict(deque)
    strays = []
    for i, (_, _, _, kind, number, value) in enumerate(room.rows):
        if kind == NOTE_ON and value:
            sounding[room.parts[i], number].append(i)
            off_of[i] = never
        elif kind in (NOTE_ON, NOTE_OFF):
            queue = sounding[room.parts[i], number]
            if queue:
                off_of[queue.popleft()] = i
            else:
                strays.append(i)
    for i in strays:
        _, _, channel, _, number, _ = room.rows[i]
        others = [on for on, off in off_of.items() if off == never and on < i and room.rows[on][2] == channel]
        others = [on for on in others if room.rows[on][4] == number] if room.shared else []
        if others:
            off_of[min(others)] = i
            counts["notes ended by another track of their channel"] += 1
        else:
            counts["note offs without a note"] += 1

    program = _programs(room, sorted(off_of), counts)
    end_of = _held(room, off_of, program) if extend else off_of
    notes = []
    for on, off in off_of.items():
        tick, track, _, _, pitch, velocity = room.rows[on]
        counts["hanging notes"] += off == never
        longest = LONGEST_HANGING * ticks_per_quarter
        last = min(ends[track], room.rows[-1][0] + longest)
        last = max(last, room.rows[off][0]) if off < never else min(last, tick + longest)
        end = room.rows[end_of[on]][0] if end_of[on] < never else last
        notes.append((tick, end, pitch, velocity, program[on]))
    return sorted(notes), +counts


def _programs(room: Room, ons: list[int], counts: Counter[str]) -> dict[int, int]:
    program = room.heard(lambda row: row[3] == PROGRAM_CHANGE)
    bank = room.heard(lambda row: row[3] == CONTROL and row[4] == BANK)
    mode = room.heard(lambda row: row[3] == PART_MODE)
    found = {}
    for on in ons:
        change, system = program(on, on), mode(on, on)
        drums = room.rows[on][2] % CHANNELS == DRUM_CHANNEL
        chosen = bank(change, change) if change is not None else None
        if chosen is not None:
            drums = {120: True, 121: False, 126: True, 127: True}.get(room.rows[chosen][5], drums)
        if system is not None:
            drums = room.rows[system][4] > 0
        found[on] = DRUMS if drums else room.rows[change][4] if change is not None else 0
        other = change is not None and room.parts[change][1] is not None and room.parts[change] != room.parts[on]
        counts["notes with a program of another track of their channel"] += other
    return found


def _held(room: Room, off_of: dict[int, int], program: dict[int, int]) -> dict[int, int]:
    """Places of what ends notes if the pedal may hold them."""
    never = len(room.rows)

    def is_pedal(row: Row) -> bool:
        return row[3] == CONTROL and row[4] in (SUSTAIN, RESET)

    def is_down(row: Row) -> bool:
        return is_pedal(row) and row[4] == SUSTAIN and row[5] >= PEDAL_DOWN

    pedal, up = room.heard(is_pedal), room.heard(lambda row: is_pedal(row) and not is_down(row))
    again: dict[int, int] = {}
    last: dict[Any, int] = {}
    for on in sorted(off_of):
        strike = (room.rows[on][2], room.rows[on][4], program[on])
        if strike in last:
            again[last[strike]] = on
        last[strike] = on
    found = {}
    for on, off in off_of.items():
        lifted = pedal(on, off)
        if lifted is not None and is_down(room.rows[lifted]) and off < again.get(on, never):
            ends = [again.get(on, never), up(on, off, True)]
            off = min(place for place in ends if place is not None)
        found[on] = off
    return found
