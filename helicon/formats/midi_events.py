"""The events of a scanned MIDI file as arrays: what each says, and when.

Shapes: E events, T tracks, M meta events.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from helicon.formats.midi_bytes import (
    DATA_BYTES,
    KEY_SIGNATURE,
    MAX_TEXT_BYTES,
    META,
    PORT,
    SET_TEMPO,
    SYSEX,
    TEXT,
    Scan,
)
from helicon.formats.score import ReadReport

CHANNELS = 16  # of a port
NOTE_OFF, NOTE_ON, CONTROL, PROGRAM = 0x8, 0x9, 0xB, 0xC  # upper halves of status bytes
SUSTAIN, RESET = 64, 121  # the controls that matter: pedal, reset of all controllers
# By status byte
_KEPT = np.isin(np.arange(256) >> 4, [NOTE_OFF, NOTE_ON, CONTROL, PROGRAM])
_HAS_VALUE = np.isin(np.arange(256) & 0xF0, [status for status, size in DATA_BYTES.items() if size == 2])


@dataclass(frozen=True)
class Events:
    """Notes, programs and the controls that matter of some tracks, and what else these say.

    Each [E]: tick; track; channel, CHANNELS of them for each port; kind; number and value, such as pitch and velocity.
    tempos: int64 [3, tempos], track, tick, microseconds a quarter. ends: [T], each track's last tick.
    texts: all text events, in order.
    """

    tick: np.ndarray
    track: np.ndarray
    channel: np.ndarray
    kind: np.ndarray
    number: np.ndarray
    value: np.ndarray
    tempos: np.ndarray
    ends: np.ndarray
    texts: tuple[bytes, ...]

    def take(self, places: np.ndarray | slice) -> Events:
        """With only these events, in this order."""
        columns = ("tick", "track", "channel", "kind", "number", "value")
        return replace(self, **{name: getattr(self, name)[places] for name in columns})

    def of_track(self, track: int) -> Events:
        """Only one track, which is track 0 then; of events in the order of the file."""
        first, last = np.searchsorted(self.track, [track, track + 1])
        one = self.take(slice(first, last))
        tempos = self.tempos[:, self.tempos[0] == track]
        return replace(one, track=one.track - track, tempos=tempos, ends=self.ends[track : track + 1])

    def in_time(self) -> Events:
        """In order of time; at equal ticks as in the file, but that programs come before all else of any track."""
        return self.take(np.lexsort((self.kind != PROGRAM, self.tick)))


def read_events(scan: Scan, report: ReadReport) -> Events:
    """Events in the order of the file. Data bytes above 127 are taken for 127."""
    data = scan.data
    delta, at = _varints(data, scan.events)
    first = np.searchsorted(scan.events, [*scan.tracks, len(data)])  # event of each track, and of the file's end
    elapsed = np.concatenate([[0], np.cumsum(delta)])
    track = np.repeat(np.arange(len(scan.tracks)), np.diff(first))
    tick = elapsed[1:] - elapsed[first[track]]

    status, at = _statuses(data, at)

    metas = _Metas.of(data, at, np.flatnonzero(status == META))
    report.add("bad key signatures", metas.bad_keys())
    port = _ports(first[:-1], *metas.numbers(PORT, 1), len(at))
    tempo, tempo_us = metas.numbers(SET_TEMPO, 3)
    report.add("tempos of 0 ignored", int(np.count_nonzero(tempo_us == 0)))
    tempo, tempo_us = tempo[tempo_us > 0], tempo_us[tempo_us > 0]

    number, value = data[at], np.where(_HAS_VALUE[status], data[at + 1], 0)
    kept = _KEPT[status]
    report.add("data bytes clipped", sum(int(np.count_nonzero(kept & (x > 127))) for x in (number, value)))
    kept = np.flatnonzero(kept & ((status >> 4 != CONTROL) | (number == SUSTAIN) | (number == RESET)))
    status = status[kept]
    return Events(
        tick[kept],
        track[kept],
        port[kept] * CHANNELS + status % CHANNELS,
        status >> 4,
        np.minimum(number[kept], 127),
        np.minimum(value[kept], 127),
        np.stack([track[tempo], tick[tempo], tempo_us]),
        elapsed[first[1:]] - elapsed[first[:-1]],
        metas.texts(),
    )


def _statuses(data: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Status bytes of the events whose deltas end at these offsets, and the offsets of what follows them.

    An event without one has the running status: that of the last event before it that is of a channel.
    """
    status = data[at]
    own = status >= 0x80
    of_channel = np.where(own & (status < SYSEX), np.arange(len(at)), 0)
    return np.where(own, status, status[np.maximum.accumulate(of_channel)]), at + own


def _ports(tracks: np.ndarray, places: np.ndarray, numbers: np.ndarray, count: int) -> np.ndarray:
    """[count]: port of each event. Tracks begin with port 0 at the places `tracks`, and ports are named at `places`."""
    begins = np.concatenate([tracks, places])
    order = np.argsort(begins, kind="stable")
    lengths = np.diff(begins[order], append=count)
    return np.repeat(np.concatenate([np.zeros_like(tracks), numbers])[order], lengths)


@dataclass(frozen=True)
class _Metas:
    """[M] each: places among all events, kinds, and the offset and length in bytes of the content."""

    data: np.ndarray
    place: np.ndarray
    kind: np.ndarray
    content: np.ndarray
    length: np.ndarray

    @staticmethod
    def of(data: np.ndarray, at: np.ndarray, place: np.ndarray) -> _Metas:
        """Those at these places; `at` are the offsets of what follows the status of each event."""
        length, content = _varints(data, at[place] + 1)
        return _Metas(data, place, data[at[place]], content, length)

    def numbers(self, kind: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Places of those of a kind whose content has this size, and the numbers that their bytes make."""
        which = (self.kind == kind) & (self.length == size)
        byte = self.data[self.content[which][:, None] + np.arange(size)]
        return self.place[which], byte @ (1 << 8 * np.arange(size)[::-1])

    def texts(self) -> tuple[bytes, ...]:
        """Contents of all text events, but for the longest."""
        which = (self.kind == TEXT) & (self.length <= MAX_TEXT_BYTES)
        begins, ends = self.content[which], (self.content + self.length)[which]
        return tuple(self.data[begin:end].tobytes() for begin, end in zip(begins, ends))

    def bad_keys(self) -> int:
        """Key signatures that cannot be; a score has none, but other programs may refuse a file for them."""
        which = self.kind == KEY_SIGNATURE
        sharps, mode = self.data[self.content[which]], self.data[self.content[which] + 1]
        good = (self.length[which] == 2) & (sharps + np.uint8(7) <= 14) & (mode <= 1)  # -7 .. 7 in one byte
        return int(np.count_nonzero(~good))


def _varints(data: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of one to four bytes, seven bits in each, that begin at these offsets, and the offsets after them."""
    value, more = np.zeros(len(at), np.int64), np.ones(len(at), bool)
    while more.any():
        byte = data[at]
        value = np.where(more, value << 7 | byte & 0x7F, value)
        at = at + more
        more = more & (byte >= 0x80)
    return value, at
