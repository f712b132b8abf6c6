"""MIDI file writer: tracks, ticks and all messages of a score."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from operator import itemgetter
from pathlib import Path

from helicon.formats.files import write_bytes
from helicon.formats.general_midi import CHANNELS, DRUM_CHANNEL, NOTE_OFF, NOTE_ON, PART_MODE
from helicon.formats.midi_bytes import (
    DATA_BYTES,
    END_OF_TRACK,
    KEY_SIGNATURE,
    MAX_TEXT_BYTES,
    META,
    NAME,
    PORT,
    SET_TEMPO,
    SYSEX,
    TEXT,
    TIME_SIGNATURE,
    MidiError,
)
from helicon.formats.score import Score

TEXT_PREFIX = "helicon: "  # marks the one text event that is ours
MAX_DELTA_TICKS = 0x0FFFFFFF  # 28 bits: seven in each of four bytes
META_PLACE = -1  # before all messages of the tick

# Tick, place, rank among what stands at the same place; channel, or -1; the event without its delta
_Event = tuple[int, int, int, int, bytes]


def write_midi(score: Score, path: Path | str, *, text: str = "", seconds: float | None = None) -> None:
    """Write a score as a MIDI file of type 1, atomically; the same arguments give the same bytes.

    Overlapping notes of one channel and pitch are read back first in, first out: MIDI cannot say more.

    Args:
        score: `Score` to write.
        path: path of the file.
        text: text event that `read_midi` returns in its report.
        seconds: end of the first track in seconds, where the piece lasts longer than its notes.

    Raises:
        MidiError: MIDI cannot hold a text or a rest of this length.
    """
    tracks: list[list[_Event]] = [[] for _ in score.tracks]
    ends = [track.end_tick for track in score.tracks]
    if seconds:
        ends[0] = max(ends[0], int(score.clock.ticks(seconds)))
    for i, track in enumerate(score.tracks):
        if track.name:
            tracks[i].append(_meta(0, 0, NAME, _utf8(track.name)))
    for tick, track, tempo_us in score.tempos.tolist():
        tracks[track].append(_meta(tick, 1, SET_TEMPO, tempo_us.to_bytes(3)))
    for tick, track, *metre in score.metres.tolist():
        tracks[track].append(_meta(tick, 2, TIME_SIGNATURE, bytes(metre)))
    for tick, track, sharps, minor in score.keys.tolist():
        tracks[track].append(_meta(tick, 3, KEY_SIGNATURE, struct.pack(">bB", sharps, minor)))
    if text:
        tracks[0].append(_meta(0, 4, TEXT, _utf8(TEXT_PREFIX + text)))
    for event_text in score.texts:
        tracks[event_text.track].append(_meta(event_text.tick, 5, event_text.kind, _utf8(event_text.text)))
    for number, event in _messages(score):
        tracks[number].append(event)
    header = b"MThd" + struct.pack(">LHHH", 6, 1, len(tracks), score.ticks_per_quarter)
    chunks = [_chunk(sorted(events, key=itemgetter(0, 1, 2)), end, score) for events, end in zip(tracks, ends)]
    write_bytes(path, b"".join([header, *chunks]))


def _messages(score: Score) -> Iterable[tuple[int, _Event]]:
    """Yield channel messages with their tracks, ordered so that a note off never ends a note that starts at its tick.

    At one place offs come before other messages, and these before ons.
    """
    notes, messages = score.notes, score.messages
    begins = (notes.track, notes.onset_tick, notes.on_place)
    ends = (notes.off_track, notes.off_tick, notes.off_place)
    for track, onset, on_place, off_track, off, off_place, channel, pitch, velocity in zip(
        *(column.tolist() for column in (*begins, *ends, notes.channel, notes.pitch, notes.velocity))
    ):
        part = channel % CHANNELS
        yield track, (onset, on_place, 2, channel, bytes((NOTE_ON << 4 | part, pitch, velocity)))
        yield off_track, (off, off_place, 0 if off > onset else 3, channel, bytes((NOTE_OFF << 4 | part, pitch, 0)))
    for tick, track, channel, kind, *data, place in zip(
        *(getattr(messages, name).tolist() for name in ("tick", "track", "channel", "kind", "number", "value", "place"))
    ):
        part = channel % CHANNELS
        if kind == PART_MODE:
            message = _part_mode(part, data[0])
        else:
            message = bytes((kind << 4 | part, *data))[: 1 + DATA_BYTES[kind << 4]]
        yield track, (tick, place, 1, channel, message)


def _part_mode(channel: int, mode: int) -> bytes:
    """Return the GS message that makes a channel drums (mode 1) or melody (0)."""
    block = 0 if channel == DRUM_CHANNEL else channel + (channel < DRUM_CHANNEL)
    address = bytes((0x40, 0x10 | block, 0x15, mode))
    body = bytes((0x41, 0x10, 0x42, 0x12)) + address + bytes((-sum(address) % 128, 0xF7))
    return bytes((SYSEX, len(body))) + body


def _chunk(events: list[_Event], end_tick: int, score: Score) -> bytes:
    """Encode a track of events in order of time, which ends at `end_tick` or with its last event."""
    end = max(end_tick, events[-1][0]) if events else end_tick
    chunks, now, port = [], 0, 0
    for tick, _, _, channel, data in [*events, _meta(end, 0, END_OF_TRACK, b"")]:
        if tick - now > MAX_DELTA_TICKS:
            quarters = (tick - now) / score.ticks_per_quarter
            raise MidiError(f"a rest of {quarters:,.0f} quarters is longer than MIDI can write")
        chunks.append(_varint(tick - now))
        if channel >= 0 and channel // CHANNELS != port:
            port = channel // CHANNELS
            chunks += [bytes((META, PORT, 1, port)), b"\0"]
        chunks.append(data)
        now = tick
    body = b"".join(chunks)
    return b"MTrk" + struct.pack(">L", len(body)) + body


def _meta(tick: int, rank: int, kind: int, content: bytes) -> _Event:
    return tick, META_PLACE, rank, -1, bytes((META, kind)) + _varint(len(content)) + content


def _utf8(text: str) -> bytes:
    utf8 = text.encode("utf-8", "surrogatepass")
    if len(utf8) > MAX_TEXT_BYTES:
        raise MidiError(f"a text of {len(utf8):,} bytes is longer than the {MAX_TEXT_BYTES:,} that readers take")
    return utf8


def _varint(number: int) -> bytes:
    """Encode a number of up to 28 bits, seven in each byte."""
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(0x80 | number & 0x7F)
    return bytes(reversed(digits))
