"""A mutator of MIDI files: header, tracks, and events with deltas, running status and meta events."""

from __future__ import annotations

import struct
from random import Random
from typing import NamedTuple

from mutations import blob, fields, mutator, number

SIZES = {0x8: 2, 0x9: 2, 0xA: 2, 0xB: 2, 0xC: 1, 0xD: 1, 0xE: 2}  # data bytes by the upper half of a status
STATUSES = (0x80, 0x90, 0x91, 0x99, 0xA0, 0xB0, 0xB9, 0xC0, 0xD0, 0xE0, 0xF0, 0xF1, 0xF2, 0xF4, 0xF7, 0xF8, 0xFF)
METAS = (0x00, 0x01, 0x02, 0x03, 0x05, 0x20, 0x21, 0x2F, 0x51, 0x54, 0x58, 0x59, 0x7F)
DELTAS = (0, 0, 1, 0x7F, 0x80, 0x3FFF, 0x4000, 0x1FFFFF, 0x0FFFFFFF, 0xFFFFFFFF)
HEADER, TRACK = -1, -2


class Event(NamedTuple):
    """status: of the event, or HEADER or TRACK, which begin a chunk named in `data`.

    data: data bytes; content of sysex and meta events, whose type is `kind`. running: its status is left out.
    longer: by how much the length that it states is wrong.
    """

    delta: int
    status: int
    data: bytes
    kind: int = 0
    running: bool = False
    longer: int = 0


def varint(value: int) -> bytes:
    """Seven bits a byte; up to five bytes, one more than is allowed."""
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(value & 0x7F | 0x80)
    return bytes(out[::-1])


def split(data: bytes) -> list[Event]:
    """Events of an honest file."""
    parts, at = [Event(0, HEADER, data[8:14])], 14
    while at < len(data):
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8])
        parts.append(Event(0, TRACK, data[at : at + 4]))
        at, status = at + 8, 0
        while at < end:
            delta, at = _varint(data, at)
            running = data[at] < 0x80
            status, at = (status, at) if running else (data[at], at + 1)
            kind, size = 0, SIZES.get(status >> 4, 0)
            if status == 0xFF:
                kind, at = data[at], at + 1
            if status >= 0xF0:
                size, at = _varint(data, at)
            parts.append(Event(delta, status, data[at : at + size], kind, running))
            at += size
    return parts


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    while True:
        value, at = value << 7 | data[at] & 0x7F, at + 1
        if data[at - 1] < 0x80:
            return value, at


def edit(rng: Random, part: Event) -> Event:
    """Another delta, status, type or length, other data."""
    if part.status == HEADER:
        return part._replace(data=fields(rng, part.data, ">HHH"))
    if part.status == TRACK:
        if rng.randrange(2):
            return part._replace(data=rng.choice((b"MTrk", b"MThd", b"XFIH", b"RIFF")))
        return part._replace(longer=rng.choice((-8, -1, 1, 8, number(rng, 0, 32))))
    match rng.randrange(8):
        case 0 | 1:
            return part._replace(delta=rng.choice(DELTAS))
        case 2:
            return part._replace(status=rng.choice(STATUSES), running=False)
        case 3:
            return part._replace(running=not part.running)
        case 4 if part.status >= 0xF0:
            return part._replace(longer=rng.choice((-1, 1, 100, 0x0FFFFFFF)))
        case 5 if part.status == 0xFF:
            return part._replace(kind=rng.choice(METAS))
        case 6 if part.data:
            i = rng.randrange(len(part.data))
            return part._replace(data=part.data[:i] + bytes([number(rng, part.data[i], 8)]) + part.data[i + 1 :])
    return part._replace(data=blob(rng, part.data))


def join(parts: list[Event]) -> bytes:
    """Chunks with lengths; what comes before the first of them is its first events."""
    chunks: list[tuple[Event, list[bytes]]] = []
    for part in parts:
        if part.status in (HEADER, TRACK):
            chunks.append((part, [part.data] if part.status == HEADER else []))
        elif chunks:
            delta, status, data, kind, running, longer = part
            size = varint(max(0, len(data) + longer)) if status >= 0xF0 else b""
            meta = bytes([kind]) if status == 0xFF else b""
            chunks[-1][1].append(varint(delta) + (b"" if running else bytes([status])) + meta + size + data)
    out = b""
    for begin, body in chunks:
        whole = b"".join(body)
        name = b"MThd" if begin.status == HEADER else begin.data
        out += name + struct.pack(">L", len(whole) + begin.longer & 0xFFFFFFFF) + whole
    return out


midi = mutator(split, edit, join)
