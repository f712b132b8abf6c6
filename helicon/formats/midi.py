"""MIDI files <-> scores.

Reading follows what players make of real files, broken ones too. What a score cannot hold (bends, other controls,
lyrics) is left out. Writing is exact to a tick of 1/1920 quarter.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Literal

import mido
import numpy as np

from helicon.formats.files import open_regular, write_bytes
from helicon.formats.midi_bytes import MAX_BYTES, MAX_PATTERNS, MAX_TEXT_BYTES, MidiError, scan_midi
from helicon.formats.midi_events import read_events
from helicon.formats.midi_notes import DEFAULT_TEMPO_US, DRUM_CHANNEL, Clock, play
from helicon.formats.score import DRUMS, ReadReport, Score

MELODIC_CHANNELS = tuple(channel for channel in range(16) if channel != DRUM_CHANNEL)
SHORTEST_S = 0.010  # what a note of no length gets
MAX_TEMPO_US = 0xFFFFFF  # microseconds a quarter
TICKS_PER_QUARTER = 1920  # in files we write: at 20 quarters a minute or more a tick is at most 1.6 ms
MAX_DELTA_TICKS = 0x0FFFFFFF
TEXT_PREFIX = "helicon: "  # marks the one text event that is ours

Pedal = Literal["extend", "drop"]
_TimedMessage = tuple[int, mido.Message | mido.MetaMessage]  # tick, message

# General MIDI's, by program
PROGRAM_NAMES = re.split(
    r",\s+",
    """
    Acoustic Grand Piano, Bright Acoustic Piano, Electric Grand Piano, Honky-tonk Piano, Electric Piano 1,
    Electric Piano 2, Harpsichord, Clavinet, Celesta, Glockenspiel, Music Box, Vibraphone, Marimba, Xylophone,
    Tubular Bells, Dulcimer, Drawbar Organ, Percussive Organ, Rock Organ, Church Organ, Reed Organ, Accordion,
    Harmonica, Bandoneon, Nylon Guitar, Steel Guitar, Jazz Guitar, Clean Guitar, Muted Guitar, Overdriven Guitar,
    Distortion Guitar, Guitar Harmonics, Acoustic Bass, Fingered Bass, Picked Bass, Fretless Bass, Slap Bass 1,
    Slap Bass 2, Synth Bass 1, Synth Bass 2, Violin, Viola, Cello, Contrabass, Tremolo Strings, Pizzicato Strings,
    Harp, Timpani, String Ensemble 1, String Ensemble 2, Synth Strings 1, Synth Strings 2, Choir Aahs, Voice Oohs,
    Synth Voice, Orchestra Hit, Trumpet, Trombone, Tuba, Muted Trumpet, French Horn, Brass Section, Synth Brass 1,
    Synth Brass 2, Soprano Sax, Alto Sax, Tenor Sax, Baritone Sax, Oboe, English Horn, Bassoon, Clarinet, Piccolo,
    Flute, Recorder, Pan Flute, Blown Bottle, Shakuhachi, Whistle, Ocarina, Square Lead, Sawtooth Lead,
    Calliope Lead, Chiff Lead, Charang Lead, Voice Lead, Fifths Lead, Bass and Lead, New Age Pad, Warm Pad,
    Polysynth Pad, Choir Pad, Bowed Pad, Metallic Pad, Halo Pad, Sweep Pad, Rain, Soundtrack, Crystal, Atmosphere,
    Brightness, Goblins, Echoes, Sci-fi, Sitar, Banjo, Shamisen, Koto, Kalimba, Bagpipe, Fiddle, Shanai,
    Tinkle Bell, Agogo, Steel Drums, Woodblock, Taiko Drum, Melodic Tom, Synth Drum, Reverse Cymbal,
    Guitar Fret Noise, Breath Noise, Seashore, Bird Tweet, Telephone Ring, Helicopter, Applause, Gunshot
    """.strip(),
)


def read_midi(path: Path | str, pedal: Pedal = "extend") -> tuple[Score, ReadReport]:
    """`read_midi_bytes` of a file. OSError if it cannot be opened."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        return read_midi_bytes(file.read(min(size, MAX_BYTES + 1)), pedal)  # one byte too many is enough to be refused


def read_midi_bytes(data: bytes, pedal: Pedal = "extend") -> tuple[Score, ReadReport]:
    """Score of a MIDI file's bytes, and what was repaired on the way.

    pedal: `extend` lets notes ring while the sustain pedal of their channel is down, `drop` ends them with their key.
    The patterns of a type 2 file follow one another. The score has no label; the text that `write_midi` left is in the
    report. Raises MidiError, whose message is one line without the path, when there is nothing to read.
    """
    if pedal not in ("extend", "drop"):
        raise ValueError(f"pedal is 'extend' or 'drop', not {pedal!r}")
    report = ReadReport()
    scan = scan_midi(data, report)
    events = read_events(scan, report)
    report.text = _own_text(events.texts)
    if scan.kind == 2 and len(scan.tracks) > MAX_PATTERNS:
        raise MidiError(f"{len(scan.tracks):,} patterns are more than the {MAX_PATTERNS:,} that a type 2 file may have")
    patterns = [events.of_track(track) for track in range(len(scan.tracks))] if scan.kind == 2 else [events]
    report.add("patterns of a type 2 file joined", len(patterns) if scan.kind == 2 else 0)

    # SMPTE files count in frames and their tempos mean nothing: two quarters a second, the default, throughout
    smpte = not scan.ticks_per_quarter
    ticks_per_quarter = scan.ticks_per_second * DEFAULT_TEMPO_US / 1e6 if smpte else scan.ticks_per_quarter

    columns, start_s, start_quarters, bpm = [], 0.0, 0.0, 0.0
    for pattern in patterns:
        clock = Clock(pattern.tempos[:, :0] if smpte else pattern.tempos, ticks_per_quarter)
        onset, end, *rest = play(pattern.in_time(), pedal == "extend", report)
        onset_s, end_s = clock.seconds(onset), clock.seconds(end)
        report.add("notes of no length", int(np.count_nonzero(end_s <= onset_s)))
        end_s = np.where(end_s > onset_s, end_s, onset_s + SHORTEST_S)
        columns.append((start_s + onset_s, start_s + end_s, *rest))
        last_tick = int(end.max(initial=0))
        if last_tick or not bpm:  # a piece without notes has the tempo of its first tick
            last_tick = max(last_tick, 1)
            bpm = 60 * (start_quarters + clock.quarters(last_tick)) / (start_s + float(clock.seconds(last_tick)))
        total = int(pattern.ends.max())
        start_s += float(clock.seconds(total))
        start_quarters += clock.quarters(total)
    return Score.of(*(np.concatenate(parts) for parts in zip(*columns)), tempo_bpm=bpm), report


def _own_text(texts: Iterable[bytes]) -> str:
    """What follows our prefix in the first text that has it."""
    prefix = TEXT_PREFIX.encode()
    return next((_unicode(text[len(prefix) :]) for text in texts if text.startswith(prefix)), "")


def _unicode(utf8: bytes) -> str:
    """Text of UTF-8; lone surrogates survive, anything else that is not UTF-8 becomes the replacement character."""
    try:
        return utf8.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return utf8.decode("utf-8", "replace")


def write_midi(score: Score, path: Path | str, *, text: str = "", seconds: float | None = None) -> None:
    """Writes a type 1 file of one tempo, with a track for each program; the same bytes for the same arguments.

    Programs take channels in ascending order, and further MIDI ports when there are more than 15. text: anything a
    reader should find again. seconds: the piece's length, where it lasts longer than its notes; the first track ends
    there. Overlapping notes of one program and pitch come back first in, first out: MIDI cannot say more.
    After an error the target is as it was. Raises MidiError for a text or a rest that MIDI cannot hold.
    """
    tempo_us = min(max(round(60e6 / score.tempo_bpm), 1), MAX_TEMPO_US)
    ticks_per_second = TICKS_PER_QUARTER * 1e6 / tempo_us
    opening: list[_TimedMessage] = [(0, mido.MetaMessage("set_tempo", tempo=tempo_us))]
    if text:
        utf8 = (TEXT_PREFIX + text).encode("utf-8", "surrogatepass")
        if len(utf8) > MAX_TEXT_BYTES:
            raise MidiError(f"a text of {len(utf8):,} bytes is longer than the {MAX_TEXT_BYTES:,} that readers take")
        opening.append((0, mido.MetaMessage("text", text=utf8.decode("latin1"))))
    tracks = [_track(opening, round((seconds or 0.0) * ticks_per_second))]
    for port, channel, program in _channels(score):
        tracks.append(_track(_program_events(score, port, channel, program, ticks_per_second), 0))
    out = BytesIO()
    mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_QUARTER, charset="latin1", tracks=tracks).save(file=out)
    write_bytes(path, out.getvalue())


def _channels(score: Score) -> list[tuple[int, int, int]]:
    """(port, channel, program) for each program of the score, in ascending order."""
    programs = [int(program) for program in np.unique(score.program)]
    places = [divmod(i, len(MELODIC_CHANNELS)) for i in range(len(programs))]  # DRUMS is the greatest: it shifts none
    melodic = [(port, MELODIC_CHANNELS[i], program) for (port, i), program in zip(places, programs) if program != DRUMS]
    return melodic + [(0, DRUM_CHANNEL, DRUMS)] * (DRUMS in programs)


def _program_events(
    score: Score, port: int, channel: int, program: int, ticks_per_second: float
) -> list[_TimedMessage]:
    """One program's notes as (tick, message), after what sets its channel up."""
    name = "drums" if program == DRUMS else PROGRAM_NAMES[program]
    opening: list[_TimedMessage] = [(0, mido.MetaMessage("track_name", name=name))]
    if port:
        opening.append((0, mido.MetaMessage("midi_port", port=port)))
    if program != DRUMS:
        opening.append((0, mido.Message("program_change", channel=channel, program=program)))
    mine = score.program == program
    onset = np.rint(score.onset_s[mine] * ticks_per_second).astype(np.int64)
    end = np.maximum(np.rint(score.end_s[mine] * ticks_per_second).astype(np.int64), onset + 1)
    events: list[tuple[int, bool, int, int, int]] = []
    for on, off, pitch, velocity in np.stack([onset, end, score.pitch[mine], score.velocity[mine]], axis=1).tolist():
        events += [(on, True, pitch, off, velocity), (off, False, pitch, off, 0)]
    events.sort()  # offs come first: what starts at a tick is not ended by what ends there
    return opening + [
        (tick, mido.Message("note_on" if on else "note_off", channel=channel, note=pitch, velocity=velocity))
        for tick, on, pitch, _, velocity in events
    ]


def _track(events: list[_TimedMessage], end_tick: int) -> mido.MidiTrack:
    """A track of messages in order of time, which ends at `end_tick` or with its last message."""
    track, now = mido.MidiTrack(), 0
    last_tick = max(end_tick, events[-1][0])
    for tick, message in [*events, (last_tick, mido.MetaMessage("end_of_track"))]:
        if tick - now > MAX_DELTA_TICKS:
            raise MidiError(f"a rest of {(tick - now) / TICKS_PER_QUARTER:,.0f} quarters is longer than MIDI can write")
        message.time, now = tick - now, tick
        track.append(message)
    return track
