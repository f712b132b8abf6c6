"""Meta events of a scanned MIDI file: tempos, metres, keys and texts.

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
    NUMBER_MASK,
    PORT,
    SEQUENCER,
    SET_TEMPO,
    SMPTE_OFFSET,
    TEXT,
    TIME_SIGNATURE,
)
from helicon.formats.read_report import ReadReport
from helicon.formats.score import Text

_BIG_ENDIAN = np.array([1 << 16, 1 << 8, 1])  # what the bytes of a number count
_READ = [*range(TEXT, LAST_TEXT + 1), PORT, END_OF_TRACK, SET_TEMPO, TIME_SIGNATURE, KEY_SIGNATURE]  # kinds
MAX_POWER = 10  # of two, in the denominator of a metre: a 1024th note


@dataclass(frozen=True, kw_only=True)
class Metas:
    """Meta events of a file, in its order; int arrays [M], M meta events.

    Attributes:
        data: uint8, the file's bytes.
        place: index among all events.
        kind: type byte.
        content: offset of the content in `data`.
        length: bytes of the content.
        tick: time in ticks.
        track: index of the track.
    """

    data: np.ndarray
    place: np.ndarray
    kind: np.ndarray
    content: np.ndarray
    length: np.ndarray
    tick: np.ndarray
    track: np.ndarray

    def numbers(self, kind: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Select meta events of one kind and length.

        Args:
            kind: type byte.
            size: number of bytes of content.

        Returns:
            Indices NumPy int64 [n] of the n selected events, and the bytes of their contents, int64 [n, size].
        """
        which = np.flatnonzero((self.kind == kind) & (self.length == size))
        return which, self.data[self.content[which][:, None] + np.arange(size)].astype(np.int64)

    def tempos(self, report: ReadReport) -> np.ndarray:
        """Return rows of `Score.tempos`, NumPy int64 [n, 3]; tempos of 0 are dropped and counted in a `ReadReport`."""
        which, byte = self.numbers(SET_TEMPO, 3)
        tempo_us = byte @ _BIG_ENDIAN
        report.add("tempos of 0 ignored", len(tempo_us) - int(np.count_nonzero(tempo_us)))
        return self._rows(which, tempo_us[:, None], tempo_us > 0)

    def metres(self, report: ReadReport) -> np.ndarray:
        """Return rows of `Score.metres`, NumPy int64 [n, 6].

        Impossible ones are dropped and counted in a `ReadReport`.
        """
        which, byte = self.numbers(TIME_SIGNATURE, 4)
        good = (byte[:, 0] > 0) & (byte[:, 1] <= MAX_POWER)
        report.add("bad time signatures", len(good) - int(np.count_nonzero(good)))
        return self._rows(which, byte, good)

    def keys(self, report: ReadReport) -> np.ndarray:
        """Return rows of `Score.keys`, NumPy int64 [n, 4]; impossible ones are dropped and counted in a `ReadReport`.

        Other programs may refuse a file with such a key.
        """
        which, byte = self.numbers(KEY_SIGNATURE, 2)
        byte[:, 0] = (byte[:, 0] + 128) % 256 - 128  # a signed byte
        good = (np.abs(byte[:, 0]) <= 7) & (byte[:, 1] <= 1)
        bad = np.count_nonzero(self.kind == KEY_SIGNATURE) - np.count_nonzero(good)
        report.add("bad key signatures", int(bad))
        return self._rows(which, byte, good)

    def texts(self, report: ReadReport) -> list[Text]:
        """Return the first MAX_TEXTS `Text`s, of any kind, of at most MAX_TEXT_BYTES each, in the order of the file.

        Args:
            report: `ReadReport` that counts later ones.
        """
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
        """Count in a `ReadReport` the meta events of the kinds that are dropped."""
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
    """Decode variable-length numbers, seven bits in a byte, all at once; of longer ones the last 28 bits count.

    Args:
        data: uint8, the file's bytes.
        at: NumPy int [n], offsets in `data` where the numbers begin.

    Returns:
        The n numbers, NumPy int64 [n], and the offsets after them, int [n].
    """
    byte = data[at]
    value, at = (byte & 0x7F).astype(np.int64), at + 1
    more = np.flatnonzero(byte >= 0x80)
    while len(more):
        byte = data[at[more]]
        value[more] = (value[more] << 7 | byte & 0x7F) & NUMBER_MASK
        at[more] += 1
        more = more[byte >= 0x80]
    return value, at


def _unicode(data: bytes) -> str:
    """Decode UTF-8, in which lone surrogates survive, or else Latin-1, as in old files."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("latin-1")
