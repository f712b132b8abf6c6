"""The meta events of a scanned MIDI file: numbers, such as tempos and metres, and texts.

Shapes: M meta events.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from helicon.formats.midi_bytes import (
    END_OF_TRACK,
    KEY_SIGNATURE,
    LAST_TEXT,
    MAX_TEXT_BYTES,
    MAX_TEXTS,
    PORT,
    SEQUENCER,
    SET_TEMPO,
    SMPTE_OFFSET,
    TEXT,
    TIME_SIGNATURE,
)
from helicon.formats.score import ReadReport, Text

_BIG_ENDIAN = np.array([1 << 16, 1 << 8, 1])  # what the bytes of a number count
_READ = [*range(TEXT, LAST_TEXT + 1), PORT, END_OF_TRACK, SET_TEMPO, TIME_SIGNATURE, KEY_SIGNATURE]  # kinds
MAX_POWER = 10  # of two, in the denominator of a metre: a 1024th note


@dataclass(frozen=True, kw_only=True)
class Metas:
    """[M] each: place among all events, kind, offset and length in bytes of the content, tick and track."""

    data: np.ndarray
    place: np.ndarray
    kind: np.ndarray
    content: np.ndarray
    length: np.ndarray
    tick: np.ndarray
    track: np.ndarray

    def numbers(self, kind: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Which are of a kind with this many bytes of content, int64 [n], and these bytes, int64 [n, size]."""
        which = np.flatnonzero((self.kind == kind) & (self.length == size))
        return which, self.data[self.content[which][:, None] + np.arange(size)].astype(np.int64)

    def tempos(self, report: ReadReport) -> np.ndarray:
        """Rows of `Score.tempos`, those of no length left out."""
        which, byte = self.numbers(SET_TEMPO, 3)
        tempo_us = byte @ _BIG_ENDIAN
        report.add("tempos of 0 ignored", len(tempo_us) - int(np.count_nonzero(tempo_us)))
        return self._rows(which, tempo_us[:, None], tempo_us > 0)

    def metres(self, report: ReadReport) -> np.ndarray:
        """Rows of `Score.metres`, those that cannot be left out."""
        which, byte = self.numbers(TIME_SIGNATURE, 4)
        good = (byte[:, 0] > 0) & (byte[:, 1] <= MAX_POWER)
        report.add("bad time signatures", len(good) - int(np.count_nonzero(good)))
        return self._rows(which, byte, good)

    def keys(self, report: ReadReport) -> np.ndarray:
        """Rows of `Score.keys`, those that cannot be left out; other programs may refuse a file for them."""
        which, byte = self.numbers(KEY_SIGNATURE, 2)
        byte[:, 0] = (byte[:, 0] + 128) % 256 - 128  # a signed byte
        good = (np.abs(byte[:, 0]) <= 7) & (byte[:, 1] <= 1)
        bad = np.count_nonzero(self.kind == KEY_SIGNATURE) - np.count_nonzero(good)
        report.add("bad key signatures", int(bad))
        return self._rows(which, byte, good)

    def texts(self, report: ReadReport) -> list[Text]:
        """The first MAX_TEXTS texts of all kinds that are not too long."""
        which = np.flatnonzero((self.kind >= TEXT) & (self.kind <= LAST_TEXT) & (self.length <= MAX_TEXT_BYTES))
        report.add(f"texts after the first {MAX_TEXTS:,} dropped", max(len(which) - MAX_TEXTS, 0))
        which, data = which[:MAX_TEXTS], self.data.tobytes()
        begins, ends = self.content[which], (self.content + self.length)[which]
        columns = (self.tick[which], self.track[which], self.kind[which], begins, ends)
        return [
            Text(tick, track, kind, _unicode(data[begin:end]))
            for tick, track, kind, begin, end in zip(*(column.tolist() for column in columns))
        ]

    def count_unread(self, report: ReadReport) -> None:
        """Counts events of the kinds that nothing is made of."""
        count = np.bincount(self.kind, minlength=256)
        count[_READ] = 0
        for kind, name in ((SMPTE_OFFSET, "SMPTE offsets"), (SEQUENCER, "sequencers' own events")):
            report.add(f"{name} dropped", int(count[kind]))
            count[kind] = 0
        report.add("other meta events dropped", int(count.sum()))

    def _rows(self, which: np.ndarray, numbers: np.ndarray, good: np.ndarray) -> np.ndarray:
        rows = np.empty((len(which), 2 + numbers.shape[1]), np.int64)
        rows[:, 0], rows[:, 1], rows[:, 2:] = self.tick[which], self.track[which], numbers
        return rows if good.all() else rows[good]


def varints(data: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of one to four bytes, seven bits in each, that begin at these offsets, and the offsets after them."""
    byte = data[at]
    value, at = (byte & 0x7F).astype(np.int64), at + 1
    more = np.flatnonzero(byte >= 0x80)
    while len(more):
        byte = data[at[more]]
        value[more] = value[more] << 7 | byte & 0x7F
        at[more] += 1
        more = more[byte >= 0x80]
    return value, at


def _unicode(data: bytes) -> str:
    """Text of UTF-8, in which lone surrogates survive, or else of Latin-1, as old files have it."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("latin-1")
