"""Notes of all events at once are those that playing key by key gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from midi_by_hand import Row, play_by_hand, rows

from helicon.formats.midi_bytes import scan_midi
from helicon.formats.midi_events import CONTROL, NOTE_OFF, NOTE_ON, PROGRAM, RESET, SUSTAIN, Events, read_events
from helicon.formats.midi_notes import Clock, play
from helicon.formats.score import ReadReport


def events_of(found: list[Row], ends: list[int]) -> Events:
    """Events in the order of the file."""
    columns = np.array(found, np.int64).reshape(-1, 6).T
    return Events(*columns, tempos=np.zeros((3, 0), np.int64), ends=np.array(ends), texts=())


def check(events: Events, extend: bool) -> None:
    report = ReadReport()
    notes_5N = play(events.in_time(), extend, report)
    assert (list(zip(*notes_5N.tolist())), report.counts) == play_by_hand(rows(events), events.ends.tolist(), extend)


# Few keys, times and programs, because that is where notes meet
_MESSAGE = st.one_of(
    st.tuples(st.just(NOTE_ON), st.integers(60, 61), st.sampled_from([0, 64, 100])),
    st.tuples(st.just(NOTE_ON), st.integers(60, 61), st.just(64)),
    st.tuples(st.just(NOTE_OFF), st.integers(60, 61), st.just(0)),
    st.tuples(st.just(CONTROL), st.just(SUSTAIN), st.sampled_from([0, 63, 64, 127])),
    st.tuples(st.just(CONTROL), st.just(RESET), st.just(0)),
    st.tuples(st.just(PROGRAM), st.integers(0, 1), st.just(0)),
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
    check(events_of(found, ends), extend)


def test_many_keys_at_once() -> None:
    rng = np.random.default_rng(0)
    count = 5000
    kind = rng.choice([NOTE_ON, NOTE_ON, NOTE_OFF, NOTE_OFF, CONTROL, PROGRAM], count)
    number = np.where(kind == CONTROL, SUSTAIN, rng.integers(0, 128, count))
    columns = (np.sort(rng.integers(0, 2000, count)), 0 * kind, rng.integers(0, 40, count), kind, number)
    found = list(zip(*(column.tolist() for column in columns), rng.integers(0, 128, count).tolist()))
    for extend in (False, True):
        check(events_of(found, [2500]), extend)


def test_seconds_by_hand() -> None:
    tempos = np.array([[1, 96, 1_000_000], [0, 0, 250_000], [2, 96, 2_000_000]]).T  # track, tick, us a quarter
    clock = Clock(tempos, ticks_per_quarter=96)
    assert clock.seconds(np.array([0, 48, 96, 144])).tolist() == [0.0, 0.125, 0.25, 1.25]
    assert clock.quarters(144) == 1.5


def plays_as_by_hand(path: Path) -> None:
    report = ReadReport()
    events = read_events(scan_midi(path.read_bytes(), report), report)
    for extend in (False, True):
        check(events, extend)


def test_sample_of_real_files(shared_data: Path) -> None:
    for path in sorted((shared_data / "midi").rglob("*.mid"))[::20]:
        plays_as_by_hand(path)


@pytest.mark.slow
def test_all_real_files(shared_data: Path) -> None:
    for path in sorted((shared_data / "midi").rglob("*.mid")):
        plays_as_by_hand(path)
