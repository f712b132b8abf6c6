"""MIDI file reader: bytes or a file -> Score.

Faults are read as common players read them. Data that a score cannot hold (system messages, sequencers' own events,
key-up velocities) are dropped and counted.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Literal

import numpy as np

from helicon.formats.files import open_regular
from helicon.formats.general_midi import NOTE_ON
from helicon.formats.midi_bytes import MAX_BYTES, MAX_PATTERNS, NAME, TEXT, MidiError, scan_midi
from helicon.formats.midi_events import read_events
from helicon.formats.midi_notes import play
from helicon.formats.midi_write import TEXT_PREFIX
from helicon.formats.musical_time import DEFAULT_TEMPO_US
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.formats.read_report import ReadReport
from helicon.formats.score import Notes, Score, Text, Track

GZIP = b"\x1f\x8b"  # that its files begin with
Pedal = Literal["extend", "drop"]


def read_midi(path: Path | str, pedal: Pedal = "extend") -> tuple[Score, ReadReport]:
    """Read a MIDI file.

    Args:
        path: path of a file of any suffix, plain or compressed by gzip.
        pedal: `extend` or `drop`, as for `read_midi_bytes`.

    Returns:
        The `Score`, and a `ReadReport` with counts of repairs.

    Raises:
        MidiError: there is nothing to read.
        OSError: the file cannot be opened.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(min(size, MAX_BYTES + 1))  # one byte too many is enough to be refused
    complete = True
    if data.startswith(GZIP):
        data, complete = _unzipped(data)
    score, report = read_midi_bytes(data, pedal)
    report.add("gzip files cut off (read up to there)", not complete)
    return score, report


def _unzipped(data: bytes) -> tuple[bytes, bool]:
    """Decompress a gzip file, up to one byte more than is accepted; return the bytes, and False if it is cut off."""
    unzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        unzipped = unzip.decompress(data, MAX_BYTES + 1)
    except zlib.error as error:
        raise MidiError(f"a broken gzip file: {printable(error, MAX_QUOTED)}") from None
    return unzipped, unzip.eof or len(unzipped) > MAX_BYTES


def read_midi_bytes(data: bytes, pedal: Pedal = "extend") -> tuple[Score, ReadReport]:
    """Parse the bytes of a MIDI file.

    The patterns of a type 2 file are played one after another. The score has no label; the text that `write_midi` left
    is in the report.

    Args:
        data: bytes of the file.
        pedal: `extend` lets notes ring while the sustain pedal of their channel is down, `drop` ends them at key up.

    Returns:
        The `Score`, and a `ReadReport` with counts of repairs.

    Raises:
        MidiError: there is nothing to read; the message is one line without the path.
        ValueError: `pedal` is another word.
    """
    if pedal not in ("extend", "drop"):
        raise ValueError(f"pedal is 'extend' or 'drop', not {pedal!r}")
    report = ReadReport()
    scan = scan_midi(data, report)
    if scan.kind == 2 and len(scan.tracks) > MAX_PATTERNS:
        raise MidiError(f"{len(scan.tracks):,} patterns are more than the {MAX_PATTERNS:,} that a type 2 file may have")
    events = read_events(scan, report)
    report.text, texts = _own_text(events.texts)
    if scan.smpte_tempo_us:
        events = events.in_frames(scan.smpte_tempo_us)
        report.add("files in SMPTE time, whose tempos mean nothing")
    if scan.kind == 2:
        report.add("patterns of a type 2 file joined", len(scan.tracks))
        events = events.in_turn(scan.smpte_tempo_us or DEFAULT_TEMPO_US)
    messages, patterns = events.messages, [events.messages]
    if scan.kind == 2:
        patterns = [messages.take(messages.track == track) for track in range(len(scan.tracks))]
    played = [play(pattern, events.ends, pedal == "extend", report, scan.ticks_per_quarter) for pattern in patterns]
    notes = Notes.joined(played).in_order() if scan.kind == 2 else played[0]
    named = {text.track: text for text in reversed(texts) if text.kind == NAME and text.text}  # the first of each track
    names = [named[i].text if i in named else "" for i in range(len(events.ends))]
    score = Score(
        ticks_per_quarter=scan.ticks_per_quarter,
        notes=notes,
        tracks=tuple(map(Track, names, events.ends.tolist())),
        tempos=events.tempos,
        metres=events.metres,
        keys=events.keys,
        messages=messages.take(np.flatnonzero(messages.kind > NOTE_ON)),
        texts=tuple(text for text in texts if text is not named.get(text.track)),
    )
    report.add("notes of no length", int(np.count_nonzero(notes.end_tick <= notes.onset_tick)))
    return score, report


def _own_text(texts: list[Text]) -> tuple[str, list[Text]]:
    """Separate our text from the others: its content, less the prefix, and all texts without the prefix."""
    ours = [text.text for text in texts if text.kind == TEXT and text.text.startswith(TEXT_PREFIX)]
    others = [text for text in texts if text.kind != TEXT or not text.text.startswith(TEXT_PREFIX)]
    return ours[0].removeprefix(TEXT_PREFIX) if ours else "", others
