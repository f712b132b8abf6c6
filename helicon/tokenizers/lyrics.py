"""Tokenizer of lyrics: a long text, of which the model sees the part that is sung in its window of the sound.

Plain text is assumed to be sung evenly from the beginning to the end, as Jukebox does (arXiv:2005.00341, section 4.2).
The lines of an `.lrc` file say when they are sung:

    [ar:The Muses]
    [offset:+200]
    [00:12.00][01:02.50]Sing, goddess,
    [00:15.30]the anger of Achilles
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from helicon.tokenizers.abilities import Sliding
from helicon.tokenizers.base import check_ids
from helicon.tokenizers.text import BYTES, BytesTokenizer

MAX_LINES = 10_000  # of a song, each counted as often as it has times: bounds the work on texts from elsewhere
CACHED_BYTES = 1 << 14  # largest text whose parsed lines are cached for its next window
_TIME = re.compile(r"\s*\[(\d{1,4}):(\d{1,2})(?:[.:](\d{1,3}))?\]")  # a line's time, `[MM:SS.ss]`
# A time within a line, `<MM:SS.ss>` or `[MM:SS.ss]`
_WORD_TIME = re.compile(r"[\[<]\d{1,4}:\d{1,2}(?:[.:]\d{1,3})?[\]>]")
_FACT = re.compile(r"\s*\[([A-Za-z#]+):(.*)\]\s*")  # about the song, `[ar:The Muses]`


class Line(NamedTuple):
    """Line of a song, sung from `begin_s` until `end_s` (seconds), which is None for the last line."""

    begin_s: float
    end_s: float | None
    words: str


class LyricsTokenizer(BytesTokenizer, Sliding):
    """Byte tokenizer of complete lyrics, line times included, from which `slide` cuts the part for a window."""

    def __init__(self, block: str = "lyrics") -> None:
        super().__init__(block)

    def slide(self, ids: np.ndarray, begin_s: float, end_s: float, total_s: float, length: int) -> np.ndarray:
        """Cut out the lyrics of a window, in complete characters.

        With line times: the lines sung within the window, the one being sung at its start included. Plain text: the
        part around the byte that is at the same relative position as the middle of the window.

        Args:
            ids: local ids NumPy int64 [T] of the complete lyrics, one a byte.
            begin_s: start of the window, in seconds from the start of the piece.
            end_s: end of the window, in seconds.
            total_s: duration of the piece, in seconds.
            length: number of ids that fit into the slot.

        Returns:
            Local ids int64, at most `length`; all of them where the text is short enough.
        """
        data = check_ids(ids, BYTES).astype(np.uint8).tobytes()
        lines, middle_s = _lines_of(data), (begin_s + end_s) / 2
        if lines:
            shown = [line for line in lines if line.begin_s < end_s and (line.end_s is None or line.end_s > begin_s)]
            data, middle = _join_lines(shown, middle_s, total_s)
        else:
            middle = len(data) * middle_s / max(total_s, end_s, 1e-9)
        return np.frombuffer(around(data, middle, length), np.uint8).astype(np.int64)


def timed_lines(text: str) -> list[Line]:
    """Parse an `.lrc` text to its `Line`s in order of time; empty for a text without times.

    A line may have several times; a line without any has those of the line before it. A positive offset means earlier.
    Lines after the first MAX_LINES are left out.
    """
    entries: list[tuple[float, str]] = []
    offset_s, times_s = 0.0, [0.0]
    any_times = False
    for line in text.splitlines()[:MAX_LINES]:
        if len(entries) >= MAX_LINES:
            break
        if begin_s := _times_s(line):
            times_s, any_times = begin_s, True
        elif fact := _FACT.fullmatch(line):
            offset_s = _milliseconds(fact[2]) / 1000 if fact[1].lower() == "offset" else offset_s
            continue
        words = " ".join(_WORD_TIME.sub("", line).split())
        if words or begin_s:
            entries += [(time_s, words) for time_s in times_s[: MAX_LINES - len(entries)]]
    if not any_times:
        return []
    entries = sorted(((max(0.0, time_s - offset_s), words) for time_s, words in entries), key=lambda entry: entry[0])
    begins = [begin_s for begin_s, _ in entries]
    ends: list[float | None] = [None] * len(entries)
    for i in range(len(entries) - 2, -1, -1):  # the next later time, which several lines of one time share
        ends[i] = begins[i + 1] if begins[i + 1] > begins[i] else ends[i + 1]
    return [Line(begin_s, end_s, words) for (begin_s, words), end_s in zip(entries, ends) if words]


def _times_s(line: str) -> list[float]:
    """Parse the times at the beginning of a line, in seconds; MAX_LINES at most."""
    times_s: list[float] = []
    end = 0
    while len(times_s) < MAX_LINES and (match := _TIME.match(line, end)):
        times_s.append(_seconds(*match.groups()))
        end = match.end()
    return times_s


def around(data: bytes, middle: float, length: int) -> bytes:
    """Cut out the part of a text around a byte, in complete characters.

    Args:
        data: UTF-8 bytes.
        middle: index of the byte, a float.
        length: greatest number of bytes of the part.

    Returns:
        UTF-8 bytes, all of them where they are few enough.
    """
    if len(data) <= length:
        return data
    first = min(max(round(middle - length / 2), 0), len(data) - length)
    last = first + length
    while first < last and data[first] & 0xC0 == 0x80:  # the middle of a character
        first += 1
    while first < last < len(data) and data[last] & 0xC0 == 0x80:
        last -= 1
    return data[first:last]


def _lines_of(data: bytes) -> list[Line]:
    """Parse bytes by `timed_lines`, cached, since each training window asks again."""
    return _cached_lines(data) if len(data) <= CACHED_BYTES else timed_lines(data.decode(errors="replace"))


@lru_cache(maxsize=1024)
def _cached_lines(data: bytes) -> list[Line]:
    return timed_lines(data.decode(errors="replace"))


def _join_lines(lines: list[Line], time_s: float, total_s: float) -> tuple[bytes, float]:
    """Join lines to UTF-8, and return the byte that is sung at a time, interpolated within its line."""
    parts = [line.words.encode() for line in lines]
    starts = [0, *accumulate(len(part) + 1 for part in parts)]
    middle = 0.0
    for line, part, start in zip(lines, parts, starts):
        if line.begin_s <= time_s:
            lasts = max(line.end_s if line.end_s is not None else total_s, time_s, line.begin_s + 1e-9) - line.begin_s
            middle = start + len(part) * (time_s - line.begin_s) / lasts
    return b"\n".join(parts), middle


def _seconds(minutes: str, seconds: str, fraction: str) -> float:
    return int(minutes) * 60 + int(seconds) + float(f"0.{fraction or 0}")


def _milliseconds(text: str) -> float:
    """Parse a number such as `+200`; 0 for anything else."""
    try:
        return float(int(text))
    except (ValueError, OverflowError):
        return 0.0
