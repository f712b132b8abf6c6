"""MIDI events of all tracks -> notes: one tempo map, and the keys, programs and pedals of all channels.

Shapes: E events in order of time, N notes.
"""

from __future__ import annotations

import numpy as np

from helicon.formats.midi_events import CHANNELS, CONTROL, NOTE_ON, PROGRAM, SUSTAIN, Events
from helicon.formats.score import DRUMS, ReadReport, narrow

DRUM_CHANNEL = 9  # counted from 0: channel 10 in every manual
DEFAULT_TEMPO_US = 500_000  # microseconds a quarter
PEDAL_DOWN = 64  # the value from which on the pedal is down
PITCHES = 128


class Clock:
    """Ticks -> seconds and quarters, by tempos int64 [3, tempos] of all tracks: track, tick, microseconds a quarter."""

    def __init__(self, tempos: np.ndarray, ticks_per_quarter: float) -> None:
        self._per_quarter = ticks_per_quarter
        _, tick, tempo_us = tempos[:, np.argsort(tempos[1], kind="stable")]  # at one tick the file's last one holds
        self._tick = np.concatenate([[0], tick])
        self._tick_s = np.concatenate([[DEFAULT_TEMPO_US], tempo_us]) / 1e6 / self._per_quarter
        self._at_s = np.concatenate([[0.0], np.cumsum(np.diff(self._tick) * self._tick_s[:-1])])

    def seconds(self, ticks: np.ndarray | int) -> np.ndarray:
        """Time at these ticks."""
        i = np.searchsorted(self._tick, ticks, side="right") - 1
        return self._at_s[i] + (ticks - self._tick[i]) * self._tick_s[i]

    def quarters(self, ticks: int) -> float:
        """Quarters from the start to this tick."""
        return ticks / self._per_quarter


def play(events: Events, extend: bool, report: ReadReport) -> np.ndarray:
    """Notes int64 [5, N], in order of key down: onset tick, end tick, pitch, velocity, program.

    Of events in order of time. Key up ends the oldest note of its channel and pitch. With `extend` a pedal that is down
    holds that note until the pedal goes up or the pitch is struck again with the same program. What nothing ends lasts
    to the end of the track where its key went down.
    """
    on, off = _pairs(events, report)
    channel, never = events.channel[on], len(events.tick)
    program = _programs(events, on, channel)
    end = _held(events, on, off, program) if extend else off
    tick = np.append(events.tick, -1)  # of what never comes
    last_tick = np.maximum(events.ends[events.track[on]], tick[off])
    end_tick = np.where(end < never, tick[end], last_tick)
    report.add("hanging notes", int(np.count_nonzero(off == never)))
    columns = (events.tick[on], end_tick, events.number[on], events.value[on], program)
    return np.stack(columns)[:, np.argsort(on)].astype(np.int64)


def _pairs(events: Events, report: ReadReport) -> tuple[np.ndarray, np.ndarray]:
    """Places [N] of the events where notes' keys go down and up, E where they never do; in order of key, then time."""
    at = np.flatnonzero(events.kind <= NOTE_ON)
    key = events.channel[at] * PITCHES + events.number[at]
    order = np.argsort(narrow(key), kind="stable")
    at, key = at[order], key[order]
    is_on = (events.kind[at] == NOTE_ON) & (events.value[at] > 0)
    begins = np.flatnonzero(np.diff(key, prepend=-1))  # of each key
    group = np.repeat(np.arange(len(begins), dtype=np.int64), np.diff(begins, append=len(at)))

    # Ons less offs of a key, and the lowest that was so far: an off of a silent key makes a new low
    change = np.where(is_on, 1, -1)
    balance = np.cumsum(change)
    balance -= (balance - change)[begins][group]
    apart = group * (len(at) + 1)  # makes the lows of one key all below those of the one before
    low = np.minimum.accumulate(np.minimum(balance, 0) - apart) + apart
    sounding = np.concatenate([[0], (balance - low)[:-1]])
    sounding[begins] = 0
    used = is_on | (sounding > 0)
    report.add("note offs without a note", int(np.count_nonzero(~used)))
    at, group, is_on = at[used], group[used], is_on[used]

    # First in, first out: the n-th off of a key belongs to its n-th on
    on, off = at[is_on], np.full(np.count_nonzero(is_on), len(events.tick))
    ons, offs = (np.bincount(group[which], minlength=len(begins)) for which in (is_on, ~is_on))
    skipped = np.cumsum(ons - offs) - (ons - offs)  # ons of lower keys that have no off
    off[np.arange(len(at) - len(on)) + skipped[group[~is_on]]] = at[~is_on]
    return on, off


def _programs(events: Events, on: np.ndarray, channel: np.ndarray) -> np.ndarray:
    """[N]: program of the channel as each key goes down."""
    last = _last(events, np.flatnonzero(events.kind == PROGRAM), on, channel)
    program = np.where(last >= 0, events.number[last], 0)
    return np.where(channel % CHANNELS == DRUM_CHANNEL, DRUMS, program)


def _held(events: Events, on: np.ndarray, off: np.ndarray, program: np.ndarray) -> np.ndarray:
    """Places [N] of what ends notes if the pedal may hold them, E for nothing. Notes in order of key, then time."""
    channel, never = events.channel[on], len(events.tick)
    pedal = np.flatnonzero(events.kind == CONTROL)
    # the other control that is kept, the reset of all controllers, lifts it
    down = (events.number[pedal] == SUSTAIN) & (events.value[pedal] >= PEDAL_DOWN)
    if not down.any():
        return off
    is_down = np.zeros(never + 1, bool)
    is_down[pedal[down]] = True

    strike = (channel * PITCHES + events.number[on]) * (DRUMS + 1) + program
    order = np.argsort(strike, kind="stable")
    same = strike[order[1:]] == strike[order[:-1]]
    again = np.full(len(on), never)
    again[order[:-1][same]] = on[order[1:][same]]
    # a note struck again before its own key up is not held
    held = (off < again) & is_down[_last(events, pedal, off, channel)]
    return np.where(held, np.minimum(again, _next(events, pedal[~down], off, channel)), off)


def _last(events: Events, which: np.ndarray, at: np.ndarray, channel: np.ndarray) -> np.ndarray:
    """Place of the last of these events before each place, of the same channel; -1 for none."""
    code, wanted, span = _coded(events, which, at, channel)
    found = np.append(-1, code)[np.searchsorted(code, wanted)]
    return np.where(found // span == channel, found % span, -1)


def _next(events: Events, which: np.ndarray, at: np.ndarray, channel: np.ndarray) -> np.ndarray:
    """Place of the first of these events after each place, of the same channel; E for none."""
    code, wanted, span = _coded(events, which, at, channel)
    found = np.append(code, -1)[np.searchsorted(code, wanted)]
    return np.where(found // span == channel, found % span, span - 1)


def _coded(
    events: Events, which: np.ndarray, at: np.ndarray, channel: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Channel and place as one number: of events, ascending, and of what is looked for; and how far channels are."""
    span = len(events.tick) + 1
    return np.sort(events.channel[which] * span + which), channel * span + at, span
