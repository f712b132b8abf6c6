"""The pass over a MIDI file's bytes before mido parses them.

mido gives a whole file away when one event is bad, and believes every length a file declares. Here chunks are found,
lengths bounded and tracks rewritten with only the events that a score is made of, so that mido reads what is left
without a fault. What was repaired or dropped is counted in the report.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from helicon.formats.score import ReadReport

MAX_BYTES = 4_000_000  # each byte of notes costs some 200 bytes of memory and 4 us: 0.9 GB, 15 s
MAX_TRACKS = 32767  # mido reads the number of tracks as a signed 16-bit integer
MAX_TEXT_BYTES = 1_000_000  # mido refuses longer messages
FRAMES_PER_SECOND = {24: 24.0, 25: 25.0, 29: 30000 / 1001, 30: 30.0}

DATA_BYTES = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}  # by the upper half of a status byte
SYSTEM_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1, 0xF6: 0, 0xF8: 0, 0xFA: 0, 0xFB: 0, 0xFC: 0, 0xFE: 0}
SYSEX, SYSEX_MORE, META = 0xF0, 0xF7, 0xFF
TEXT, PORT, END_OF_TRACK, SET_TEMPO, KEY_SIGNATURE = 0x01, 0x21, 0x2F, 0x51, 0x59
KEPT = {0x80, 0x90, 0xB0, 0xC0}  # note off and on, control, program
CONTROLS = {64, 121}  # sustain pedal, reset all controllers
CUT, NO_END = "tracks cut short", "tracks without an end"

Event = tuple[int, int, int, bytes, int]  # delta_ticks, status, meta kind (0 if none), data, offset after the event


class MidiError(ValueError):
    """A file that is no MIDI file, or holds nothing readable; the message is one line and names no path."""


class _Broken(Exception):
    """A track's bytes make no sense, or end, at this event."""


@dataclass(frozen=True)
class CleanMidi:
    """What is left of a file. kind: 0, 1 or 2, the file's type. tracks: event bytes of each, ended by an end of track.

    ticks_per_quarter: 0 when time is counted in SMPTE frames, and ticks_per_second is then set instead.
    """

    kind: int
    ticks_per_quarter: int
    ticks_per_second: float
    tracks: tuple[bytes, ...]

    def file(self) -> bytes:
        """The tracks as a file of type 1, whose division a reader should not look at."""
        header = b"MThd" + struct.pack(">LHHH", 6, 1, len(self.tracks), self.ticks_per_quarter or 1)
        return header + b"".join(b"MTrk" + struct.pack(">L", len(track)) + track for track in self.tracks)


def clean_midi(data: bytes, report: ReadReport) -> CleanMidi:
    """Tracks of a MIDI file, whatever wraps or precedes them. Raises MidiError when there is nothing to read."""
    if not data:
        raise MidiError("the file is empty")
    if len(data) > MAX_BYTES:
        raise MidiError(f"{len(data):,} bytes are more than the {MAX_BYTES:,} that a MIDI file may have")
    at = data.find(b"MThd")
    if at < 0:
        raise MidiError("no MThd header: this is not a MIDI file")
    if len(data) < at + 14:
        raise MidiError("the file ends inside its header")
    size, kind, declared, division = struct.unpack_from(">LHHH", data, at + 4)
    per_quarter, per_second = _division(division)
    report.add("bytes before the header", at)
    if kind > 2:
        report.add("unknown file types read as type 1")
        kind = 1
    first = at + 8 + size if size >= 6 else -1
    tracks = _tracks(data, first if _is_chunk(data, first) else data.find(b"MTrk", at + 14), report)
    if not tracks:
        raise MidiError("no track in the file")
    report.add("wrong numbers of tracks", declared != len(tracks))
    return CleanMidi(kind, per_quarter, per_second, tuple(tracks))


def _division(division: int) -> tuple[int, float]:
    """Ticks a quarter, or 0 and ticks a second, from the header's last two bytes."""
    frames, ticks_per_frame = 256 - (division >> 8), division & 0xFF
    if division == 0 or (division >= 0x8000 and ticks_per_frame == 0):
        raise MidiError("division 0: the file does not say how long a tick is")
    if division < 0x8000:
        return division, 0.0
    if frames not in FRAMES_PER_SECOND:
        raise MidiError(f"division of {frames} frames a second: SMPTE has 24, 25, 29 (29.97) and 30")
    return 0, FRAMES_PER_SECOND[frames] * ticks_per_frame


def _is_chunk(data: bytes, at: int) -> bool:
    """Whether a chunk begins at this offset, or the file ends there."""
    return at == len(data) or (0 <= at <= len(data) - 8 and data[at : at + 4].isalnum())


def _tracks(data: bytes, at: int, report: ReadReport) -> list[bytes]:
    """All tracks from the chunk at this offset on. A length that does not lead to a chunk is not believed."""
    tracks: list[bytes] = []
    while 0 <= at <= len(data) - 8 and len(tracks) < MAX_TRACKS:
        name, body, end = data[at : at + 4], at + 8, at + 8 + int.from_bytes(data[at + 4 : at + 8])
        believed = _is_chunk(data, end)
        if name != b"MTrk":
            report.add("alien chunks")
            at = end if believed else data.find(b"MTrk", body)
            continue
        next_track = end if believed else data.find(b"MTrk", body)
        limit = next_track if next_track >= 0 else len(data)
        track, stop, fault = _clean_track(data, body, limit, report)
        tracks.append(track)
        report.add(fault, fault != "")
        report.add("tracks that go on after their end", not fault and stop < end <= len(data))
        report.add("wrong track lengths", not fault and (stop > end or end > len(data)))
        # a length may lead past whole tracks: what follows an end of track and looks like a track is one
        at = stop if not fault and data.startswith(b"MTrk", stop) else next_track
    return tracks


def _clean_track(data: bytes, at: int, limit: int, report: ReadReport) -> tuple[bytes, int, str]:
    """The events to keep, ended; the offset where reading stopped; what to count if no end of track stopped it."""
    out, delta, running, stop, fault = bytearray(), 0, 0, at, NO_END
    try:
        for ticks, status, kind, content, stop in _events(data, at, limit):  # noqa: B007
            delta += ticks
            if status == META and kind == END_OF_TRACK:
                fault = ""
                break
            kept = _clean_meta(kind, content, report) if status == META else _clean_message(status, content, report)
            if kept:
                out += _varint(delta) + (kept[1:] if status == running else kept)
                delta, running = 0, status if status < SYSEX else 0
    except _Broken as error:
        fault = str(error)
    return bytes(out + _varint(delta) + bytes((META, END_OF_TRACK, 0))), stop, fault


def _clean_message(status: int, content: bytes, report: ReadReport) -> bytes:
    """Status and data of a note, a program or a control that matters, data clipped at 127; else nothing."""
    if status >= SYSEX or status & 0xF0 not in KEPT:
        return b""
    if max(content) > 127:
        report.add("data bytes clipped", sum(byte > 127 for byte in content))
        content = bytes(min(byte, 127) for byte in content)
    if status & 0xF0 == 0xB0 and content[0] not in CONTROLS:
        return b""
    return bytes((status,)) + content


def _clean_meta(kind: int, content: bytes, report: ReadReport) -> bytes:
    """The whole of a meta event that matters and that mido can parse, else nothing."""
    if kind == KEY_SIGNATURE:  # a score has none, but people may want to know why another program refuses the file
        good = len(content) == 2 and content[0] in {*range(8), *range(249, 256)} and content[1] < 2
        report.add("bad key signatures", not good)
    wanted = (
        (kind == SET_TEMPO and len(content) == 3)
        or (kind == PORT and len(content) == 1)
        or (kind == TEXT and len(content) <= MAX_TEXT_BYTES)
    )
    return bytes((META, kind)) + _varint(len(content)) + content if wanted else b""


def _events(data: bytes, at: int, limit: int) -> Iterator[Event]:
    """Events of a track's bytes in [at, limit). Raises _Broken, whose text is what to count, at the first bad one."""
    running = 0
    while at < limit:
        delta, at = _read_varint(data, at, limit)
        if at >= limit:
            raise _Broken(CUT)
        status, kind = data[at], 0
        if status >= 0x80:
            at += 1
        elif running:  # meta events and sysex end running status by the standard, but not in every file
            status = running
        else:
            raise _Broken("tracks broken off at data without a status")
        if status < SYSEX:
            running, size = status, DATA_BYTES[status & 0xF0]
        elif status in (META, SYSEX, SYSEX_MORE):
            if status == META:
                kind, at = (data[at], at + 1) if at < limit else (0, at)
            size, at = _read_varint(data, at, limit)
        elif status in SYSTEM_BYTES:
            size = SYSTEM_BYTES[status]
        else:
            raise _Broken("tracks broken off at an undefined status")
        if at + size > limit:
            raise _Broken(CUT)
        yield delta, status, kind, data[at : at + size], at + size
        at += size


def _read_varint(data: bytes, at: int, limit: int) -> tuple[int, int]:
    """A number of up to four bytes, seven bits in each, and the offset after it."""
    value = 0
    for i in range(at, min(at + 4, limit)):
        value = value << 7 | data[i] & 0x7F
        if data[i] < 0x80:
            return value, i + 1
    raise _Broken(CUT if at + 4 > limit else "tracks broken off at a number of five bytes")


def _varint(value: int) -> bytes:
    """The inverse, of any length: the deltas of dropped events add up."""
    if value < 0x80:
        return bytes((value,))
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(value & 0x7F | 0x80)
    return bytes(reversed(groups))
