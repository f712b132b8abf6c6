"""Scanner of a MIDI file's bytes: offsets of tracks and events, with damaged parts skipped and counted.

Chunks are located, lengths bounded, and each track followed as far as it makes sense. Most events are plain: two data
bytes, or a short meta event. The distance from a plain event to the next is precomputed for all offsets of the file at
once; all other events are parsed byte by byte.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np

from helicon.formats.read_report import ReadReport

MAX_BYTES = 4_000_000  # of notes: 0.2 GB of memory and half a second
MAX_TRACKS = 32767  # greatest number of 16 bits with a sign
MAX_PATTERNS = 500  # of a type 2 file, each with its own clock
MAX_TEXTS = 20_000  # of a file: titles, lyrics, markers
MAX_TEXT_BYTES = 1_000_000  # of a text: mido, with which others read files, refuses longer messages
# By SMPTE's number of frames a second, 29 for 29.97: frames counted, and microseconds of a quarter of half as many
FRAMES = {24: (24, 500_000), 25: (25, 500_000), 29: (30, 500_500), 30: (30, 500_000)}

# Numbers of data bytes: of channel messages by the upper half of the status byte, of system messages by the byte
DATA_BYTES = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}
SYSTEM_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1, 0xF6: 0, 0xF8: 0, 0xFA: 0, 0xFB: 0, 0xFC: 0, 0xFE: 0}
SYSEX, SYSEX_MORE, META = 0xF0, 0xF7, 0xFF  # status bytes
# Types of meta events
TEXT, NAME, LYRIC, MARKER, LAST_TEXT = 0x01, 0x03, 0x05, 0x06, 0x0F  # all kinds from TEXT to LAST_TEXT are texts
PORT, END_OF_TRACK, SET_TEMPO, TIME_SIGNATURE, KEY_SIGNATURE = 0x21, 0x2F, 0x51, 0x58, 0x59
SMPTE_OFFSET, SEQUENCER = 0x54, 0x7F  # when a track begins; what a sequencer keeps for itself
CUT, NO_END = "tracks cut short", "tracks without an end"  # entries of the report
NUMBER_BYTES, NUMBER_MASK = 4, (1 << 28) - 1  # longest variable-length number of the standard, and its greatest value
MAX_NUMBER_BYTES = 10  # of one that is read, all of 64 bits: Ardour wrote 9, others pad with leading zeros

PLAIN_DATA = 2  # data bytes of notes, controls and bends
PLAIN_META = 4  # most bytes of tempos, metres, keys and ports
LONGEST_STEP = 4 + 3 + PLAIN_META  # bytes of a plain event, with its delta
# By the byte after a delta: bytes of the event from there on, under a running status of two data bytes; 0 for others
_SIZES = bytes(
    PLAIN_DATA if byte < 0x80 else (1 + PLAIN_DATA) * (DATA_BYTES.get(byte & 0xF0) == PLAIN_DATA) for byte in range(256)
)


class MidiError(ValueError):
    """A file that is not a readable MIDI file; the message is one line without the path."""


class _Broken(Exception):
    """A fault that ends the reading of a track; its text is the report's entry."""


@dataclass(kw_only=True)
class MidiScan:
    """Offsets of the tracks and events of a file.

    Attributes:
        kind: type of the file, 0, 1 or 2.
        ticks_per_quarter: ticks of a quarter note, half a second in SMPTE time.
        smpte_tempo_us: microseconds of a quarter where time is counted in frames, else 0; two ticks then make one of
            the file's.
        data: uint8, the file's bytes and LONGEST_STEP zeros.
        tracks: offset in `data` of each track's first event.
        events: int64, ascending, offsets in `data` of all events.
    """

    kind: int
    ticks_per_quarter: int
    smpte_tempo_us: int
    data: np.ndarray
    tracks: list[int] = field(default_factory=list)
    events: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def scan_midi(data: bytes, report: ReadReport) -> MidiScan:
    """Locate the tracks and events of a MIDI file, also within a wrapper such as RIFF.

    Args:
        data: bytes of the file.
        report: `ReadReport` that counts repaired and skipped parts.

    Returns:
        The `MidiScan`, of at least one track.

    Raises:
        MidiError: the file is too large, or has no header or no track.
    """
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
    per_quarter, tempo_us = _division(division)
    report.add("bytes before the header", at)
    if kind > 2:
        report.add("unknown file types read as type 1")
        kind = 1
    scan = MidiScan(
        kind=kind,
        ticks_per_quarter=per_quarter,
        smpte_tempo_us=tempo_us,
        data=np.frombuffer(data + bytes(LONGEST_STEP), np.uint8),
    )
    first = at + 8 + size if size >= 6 else -1
    _Walk(data, scan, report).all(first if _is_chunk(data, first) else data.find(b"MTrk", at + 14))
    if not scan.tracks:
        raise MidiError("no track in the file")
    report.add("wrong numbers of tracks", declared != len(scan.tracks))
    return scan


def _division(division: int) -> tuple[int, int]:
    """Return ticks a quarter and the tempo of SMPTE time, or 0, from the header's last two bytes."""
    frames, ticks_per_frame = 256 - (division >> 8), division & 0xFF
    if division == 0 or (division >= 0x8000 and ticks_per_frame == 0):
        raise MidiError("division 0: the file does not say how long a tick is")
    if division < 0x8000:
        return division, 0
    if frames not in FRAMES:
        raise MidiError(f"division of {frames} frames a second: SMPTE has 24, 25, 29 (29.97) and 30")
    counted, tempo_us = FRAMES[frames]
    return counted * ticks_per_frame, tempo_us


def _is_chunk(data: bytes, at: int) -> bool:
    """Return True if a chunk begins at this offset or the file ends there."""
    return at == len(data) or (0 <= at <= len(data) - 8 and data[at : at + 4].isalnum())


class _Walk:
    """Walk through tracks from event to event, which fills a scan.

    Attributes:
        steps: by data bytes of the running status, the distance to the next event from each offset where a plain event
            begins, else 0; 0 too where it would cross the end of its track.
        begins: 1 at each offset where an event begins.
    """

    def __init__(self, data: bytes, scan: MidiScan, report: ReadReport) -> None:
        self.data, self.scan, self.report = data, scan, report
        metas, plain = map(bytearray, _steps(scan.data))
        self.steps = {0: metas, 1: metas, PLAIN_DATA: plain}
        self.begins = bytearray(len(data))

    def all(self, at: int) -> None:
        """Walk through all tracks from this chunk on; a length that does not lead to a chunk is ignored."""
        data, scan, report = self.data, self.scan, self.report
        while 0 <= at <= len(data) - 8 and len(scan.tracks) < MAX_TRACKS:
            name, body, end = data[at : at + 4], at + 8, at + 8 + int.from_bytes(data[at + 4 : at + 8])
            believed = _is_chunk(data, end)
            if name != b"MTrk":
                report.add("alien chunks")
                at = end if believed else data.find(b"MTrk", body)
                continue
            next_track = end if believed else data.find(b"MTrk", body)
            scan.tracks.append(body)
            stop, fault = self._track(body, next_track if next_track >= 0 else len(data))
            report.add(fault, fault != "")
            report.add("tracks that go on after their end", not fault and stop < end <= len(data))
            report.add("wrong track lengths", not fault and (stop > end or end > len(data)))
            # a length may lead past whole tracks: what follows an end of track and looks like a track is one
            at = stop if not fault and data.startswith(b"MTrk", stop) else next_track
        scan.events = np.flatnonzero(np.frombuffer(self.begins, np.uint8))

    def _track(self, at: int, limit: int) -> tuple[int, str]:
        """Return the offset where a track's events stop, at most `limit`, and the fault, empty after its end."""
        begins = self.begins
        for steps in self.steps.values():
            steps[limit] = 0
            for i in range(max(at, limit - LONGEST_STEP), limit):
                if i + steps[i] > limit:
                    steps[i] = 0
        running = 0
        try:
            while at < limit:
                steps = self.steps[running]
                while step := steps[at]:
                    begins[at] = 1
                    at += step
                if at < limit:
                    after, running, ends = _event(self.data, at, limit, running)
                    begins[at] = 1
                    at = after
                    if ends:
                        return at, ""
        except _Broken as error:
            return at, str(error)
        return at, NO_END


def _steps(data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distance to the next event from offsets where plain events begin, else 0: meta events, and all.

    All plain events suppose a running status of two data bytes. An end of track is not plain. data: uint8 [N +
    LONGEST_STEP]; results: uint8 [N + 1] each.
    """
    goes_on = data >> 7
    more_1, more_2, more_3, more_4 = (goes_on[i : len(data) - LONGEST_STEP + 1 + i] for i in range(4))
    more_2, more_3, more_4 = more_1 & more_2, more_1 & more_2 & more_3, more_1 & more_2 & more_3 & more_4
    delta = (1 + more_1 + more_2 + more_3) * (1 - more_4)  # bytes of the number that begins there, 0 for more than four
    at = np.arange(len(delta)) + delta
    status = data[at]
    size = np.frombuffer(status.tobytes().translate(_SIZES), np.uint8)
    steps = (delta > 0) * (size > 0) * (delta + size)
    metas = np.flatnonzero((delta > 0) & (status == META))
    kind, length = data[at[metas] + 1], data[at[metas] + 2]
    short = (kind != END_OF_TRACK) & (length <= PLAIN_META)
    of_metas = np.zeros_like(steps)
    of_metas[metas[short]] = delta[metas[short]] + 3 + length[short]
    return of_metas, np.maximum(steps, of_metas)


def _event(data: bytes, at: int, limit: int, running: int) -> tuple[int, int, bool]:
    """Parse an event: the offset after it, data bytes of the running status (0 for none), True at an end of track.

    Raises:
        _Broken: the event makes no sense or crosses `limit`.
    """
    _, at = _read_varint(data, at, limit)
    if at >= limit:
        raise _Broken(CUT)
    status, kind = data[at], -1
    at += status >= 0x80
    if status < 0x80:
        if not running:  # meta events and sysex end running status by the standard, but not in every file
            raise _Broken("tracks broken off at data without a status")
        size = running
    elif status < SYSEX:
        size = running = DATA_BYTES[status & 0xF0]
    elif status in (META, SYSEX, SYSEX_MORE):
        if status == META:
            kind, at = (data[at], at + 1) if at < limit else (-1, at)
        size, at = _read_varint(data, at, limit)
    elif status in SYSTEM_BYTES:
        size = SYSTEM_BYTES[status]
    else:
        raise _Broken("tracks broken off at an undefined status")
    if at + size > limit:
        raise _Broken(CUT)
    return at + size, running, kind == END_OF_TRACK


def _read_varint(data: bytes, at: int, limit: int) -> tuple[int, int]:
    """Parse a variable-length number, seven bits in a byte; also return the offset after it.

    Of one that is longer than the standard's the last 28 bits count, as `midi_metas.varints` has it.
    """
    value = 0
    for i in range(at, min(at + MAX_NUMBER_BYTES, limit)):
        value = value << 7 | data[i] & 0x7F
        if data[i] < 0x80:
            return value & NUMBER_MASK, i + 1
    is_cut = at + MAX_NUMBER_BYTES > limit
    raise _Broken(CUT if is_cut else f"tracks broken off at a number of more than {MAX_NUMBER_BYTES} bytes")
