"""Events of a file, found and decoded all at once, are those that reading byte by byte and mido find."""

from __future__ import annotations

import struct
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from midi_by_hand import rows, rows_of_mido
from mutations import blob

from helicon.formats import midi_bytes
from helicon.formats.general_midi import CONTROL, NOTE_OFF, NOTE_ON, PART_MODE, PROGRAM_CHANGE
from helicon.formats.midi_bytes import TEXT, MidiError, scan_midi
from helicon.formats.midi_events import Events, read_events
from helicon.formats.midi_notes import in_time
from helicon.formats.read_report import ReadReport
from helicon.formats.score import Text

SPECIAL = (
    b"MTrk",
    b"\xff\x2f\x00",
    b"\xff\x51\x03\x07\xa1\x20",
    b"\xff\xff\xff\x7f",
    b"\xf0\x02AB",
    b"\xc0\x05",
    b"\0",
)


def midi(*tracks: str, kind: int = 1) -> bytes:
    """A file of tracks in hex, a quarter 96 ticks long; what follows a | is for people."""
    bodies = [b"".join(bytes.fromhex(line.split("|")[0]) for line in track.splitlines()) for track in tracks]
    chunks = [b"MTrk" + struct.pack(">L", len(body)) + body for body in bodies]
    return b"MThd" + struct.pack(">LHHH", 6, kind, len(tracks), 96) + b"".join(chunks)


def read(data: bytes) -> tuple[Events, ReadReport]:
    report = ReadReport()
    return read_events(scan_midi(data, report), report), report


FIRST = """00 90 3C 40 | channel 1, C on
10 3C 00       | the same status: C on with velocity 0
00 FF 01 01 41 | text: A
00 40 41       | the same status, after a meta event too: E on
81 00 B2 40 7F | after 128 ticks channel 3, pedal down
00 07 64       | the same status: volume
00 79 00       | the same status: all controllers reset
05 C2 28       | violin
00 29          | the same status: viola
00 FF 2F 00    | end"""
SECOND = """00 FF 51 03 07 A1 20 | tempo: 500,000 us a quarter
01 80 3C FF          | C off; no byte of data is above 127
00 FF 21 01 02       | port 2 from here on
00 D0 05             | pressure
03 80 3D 01          | C# off
00 FF 51 03 00 00 00 | no tempo
07 FF 2F 00          | end"""


def test_events_one_by_one() -> None:
    events, report = read(midi(FIRST, SECOND))
    assert rows(events.messages) == [
        (0, 0, 0, NOTE_ON, 60, 64),
        (16, 0, 0, NOTE_ON, 60, 0),
        (16, 0, 0, NOTE_ON, 64, 65),
        (144, 0, 2, CONTROL, 64, 127),
        (144, 0, 2, CONTROL, 7, 100),
        (144, 0, 2, CONTROL, 121, 0),
        (149, 0, 2, PROGRAM_CHANGE, 40, 0),
        (149, 0, 2, PROGRAM_CHANGE, 41, 0),
        (1, 1, 0, NOTE_OFF, 60, 127),
        (1, 1, 32, 0xD, 5, 0),
        (4, 1, 32, NOTE_OFF, 61, 1),
    ]
    assert events.tempos.tolist() == [[0, 1, 500_000]]
    assert (events.ends.tolist(), events.texts) == ([149, 11], [Text(16, 0, TEXT, "A")])
    assert report.counts == {
        "data bytes clipped": 1,
        "key-up velocities dropped": 2,
        "tempos of 0 ignored": 1,
    }


def test_programs_come_first_in_their_tick_and_all_else_as_in_the_file() -> None:
    piece = midi("04 90 3C 40\n00 3D 40\n00 FF 2F 00", "04 C0 07\n00 90 3E 40\n00 FF 2F 00", "00 90 3F 40\n00 FF 2F 00")
    assert [(row[0], row[4]) for row in rows(in_time(read(piece)[0].messages))] == [
        (0, 63),
        (4, 7),
        (4, 60),
        (4, 61),
        (4, 62),
    ]


def test_tracks_in_turn_begin_where_the_one_before_ends() -> None:
    events = read(midi(FIRST, SECOND))[0].in_turn(500_000)
    assert rows(events.messages)[-1][:2] == (149 + 4, 1)
    begins = [(kind, number) for tick, track, _, kind, number, _ in rows(events.messages) if (tick, track) == (149, 1)]
    assert begins == [(CONTROL, 0)] * 3 + [(PROGRAM_CHANGE, 0)] * 3 + [(CONTROL, 121)] * 3  # three channels
    assert (events.tempos.tolist(), events.ends.tolist()) == (
        [[0, 0, 500_000], [149, 1, 500_000], [149, 1, 500_000]],
        [149, 160],
    )


def scanned(data: bytes) -> tuple[object, ...]:
    """All that a scan finds, or why it finds nothing."""
    report = ReadReport()
    try:
        scan = scan_midi(data, report)
    except MidiError as error:
        return (str(error),)
    return scan.tracks, scan.events.tolist(), report.counts


def scanned_byte_by_byte(data: bytes) -> tuple[object, ...]:
    """The same when no event is plain, so that each is read on its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(midi_bytes, "_steps", lambda data: (np.zeros(len(data), np.uint8),) * 2)
        return scanned(data)


def test_steps_lead_to_the_events_that_reading_byte_by_byte_finds() -> None:
    rng, whole = Random(0), midi(FIRST, SECOND, FIRST)
    for _ in range(3000):
        data = blob(rng, whole, SPECIAL)
        assert scanned(data) == scanned_byte_by_byte(data), data.hex()


_EVENT_BYTES = st.sampled_from(
    [0x00, 0x01, 0x03, 0x2F, 0x3C, 0x51, 0x7F, 0x80, 0x81, 0x90, 0xB0, 0xC0, 0xF0, 0xF7, 0xFF]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_EVENT_BYTES, max_size=60).map(bytes), st.integers(0, 60))
def test_steps_stop_at_the_limits_of_tracks(body: bytes, size: int) -> None:
    head = b"MThd\0\0\0\6\0\1\0\2\1\xe0MTrk"
    data = head + size.to_bytes(4) + body + b"MTrk" + len(body).to_bytes(4) + body
    assert scanned(data) == scanned_byte_by_byte(data)


def agrees_with_mido(path: Path) -> None:
    """Events, tempos and ends are those that mido reads. What is read after an end of track is left out."""
    found, tempos, ends = rows_of_mido(path)
    events, report = read(path.read_bytes())
    if any(what.startswith("tracks") for what in report.counts):
        return
    assert [row for row in rows(events.messages) if row[3] != PART_MODE] == found, path
    assert events.tempos.tolist() == [tempo for tempo in tempos if tempo[2]], path
    assert events.ends.tolist() == ends, path


def test_sample_of_real_files(shared_data: Path) -> None:
    for path in sorted((shared_data / "midi").rglob("*.mid"))[::40]:
        agrees_with_mido(path)


@pytest.mark.slow
def test_all_real_files(shared_data: Path) -> None:
    for path in sorted((shared_data / "midi").rglob("*.mid")):
        agrees_with_mido(path)
