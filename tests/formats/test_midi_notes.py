"""Notes of all events at once are those that playing key by key gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from midi_by_hand import Row, play_by_hand, rows

from helicon.formats.general_midi import (
    BANK,
    CONTROL,
    NOTE_OFF,
    NOTE_ON,
    PART_MODE,
    PROGRAM_CHANGE,
    RESET,
    SUSTAIN,
)
from helicon.formats.midi_bytes import scan_midi
from helicon.formats.midi_events import read_events
from helicon.formats.midi_notes import play
from helicon.formats.musical_time import TempoMap, bars
from helicon.formats.read_report import ReadReport
from helicon.formats.score import Messages


def messages_of(found: list[Row]) -> Messages:
    """Messages in the order of the file."""
    return Messages.of([(*row, place) for place, row in enumerate(found)])


def check(messages: Messages, ends: list[int], extend: bool, ticks_per_quarter: int = 1) -> None:
    report = ReadReport()
    notes = play(messages, np.array(ends), extend, report, ticks_per_quarter)
    columns = (notes.onset_tick, notes.end_tick, notes.pitch, notes.velocity, notes.program)
    found = sorted(zip(*(column.tolist() for column in columns)))
    assert (found, report.counts) == play_by_hand(rows(messages), ends, extend, ticks_per_quarter)


# Few keys, times and programs, because that is where notes meet
_MESSAGE = st.one_of(
    st.tuples(st.just(NOTE_ON), st.integers(60, 61), st.sampled_from([0, 64, 100])),
    st.tuples(st.just(NOTE_ON), st.integers(60, 61), st.just(64)),
    st.tuples(st.just(NOTE_OFF), st.integers(60, 61), st.just(0)),
    st.tuples(st.just(CONTROL), st.just(SUSTAIN), st.sampled_from([0, 63, 64, 127])),
    st.tuples(st.just(CONTROL), st.just(RESET), st.just(0)),
    st.tuples(st.just(PROGRAM_CHANGE), st.integers(0, 1), st.just(0)),
    st.tuples(st.just(CONTROL), st.just(BANK), st.sampled_from([0, 120, 121, 127])),
    st.tuples(st.just(PART_MODE), st.integers(0, 1), st.just(0)),
)
_EVENT = st.tuples(st.sampled_from([0, 0, 1, 5]), st.sampled_from([0, 0, 0, 3, 9, 16]), _MESSAGE)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(_EVENT, max_size=40), min_size=1, max_size=3), st.integers(0, 9), st.booleans())
def test_any_events(tracks: list[list], rest: int, extend: bool) -> None:
    found: list[Row] = []
    ends = []
    for track, messages in enumerate(tracks):
        tick = 0
        for delta, channel, message in messages:
            tick += delta
            found.append((tick, track, channel, *message))
        ends.append(tick + rest * track)
    check(messages_of(found), ends, extend)


def test_many_keys_at_once() -> None:
    rng = np.random.default_rng(0)
    count = 5000
    kind = rng.choice([NOTE_ON, NOTE_ON, NOTE_OFF, NOTE_OFF, CONTROL, PROGRAM_CHANGE], count)
    number = np.where(kind == CONTROL, SUSTAIN, rng.integers(0, 128, count))
    columns = (
        np.sort(rng.integers(0, 2000, count)),
        rng.integers(0, 3, count),
        rng.integers(0, 40, count),
        kind,
        number,
    )
    found = list(zip(*(column.tolist() for column in columns), rng.integers(0, 128, count).tolist()))
    for extend in (False, True):
        check(messages_of(found), [2500, 2600, 2700], extend)


def test_seconds_by_hand() -> None:
    tempos = np.array([[96, 1, 1_000_000], [0, 0, 250_000], [96, 2, 2_000_000]])  # tick, track, us a quarter
    clock, seconds = TempoMap(tempos, ticks_per_quarter=96), [0.0, 0.125, 0.25, 1.25]
    assert clock.seconds(np.array([0, 48, 96, 144])).tolist() == seconds
    assert clock.ticks(np.array(seconds)).tolist() == [0, 48, 96, 144]


def test_bars_by_hand() -> None:
    metres = np.array([[960, 0, 3, 2, 24, 8], [1400, 0, 6, 3, 24, 8]])  # 3/4 after two bars of 4/4, 6/8 in its bar 2
    ticks = np.array([0, 479, 480, 959, 960, 1319, 1320, 1399, 1400, 1759, 1760])
    assert bars(ticks, metres, 120).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5]
    assert bars(np.array([49, 50, 99]), np.array([[0, 0, 33, 6, 24, 8]]), 24).tolist() == [0, 1, 2]  # 49.5 ticks each


def plays_as_by_hand(path: Path) -> None:
    report = ReadReport()
    scan = scan_midi(path.read_bytes(), report)
    events = read_events(scan, report)
    for extend in (False, True):
        check(events.messages, events.ends.tolist(), extend, scan.ticks_per_quarter)


def test_sample_of_real_files(shared_data: Path) -> None:
    for path in sorted((shared_data / "midi").rglob("*.mid"))[::20]:
        plays_as_by_hand(path)


@pytest.mark.slow
def test_all_real_files(shared_data: Path) -> None:
    for path in sorted((shared_data / "midi").rglob("*.mid")):
        plays_as_by_hand(path)
