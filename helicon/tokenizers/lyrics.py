"""Lyrics: a long text of which a model sees the stretch that is sung in its window of the sound.

Plain text is taken to be sung evenly from the beginning to the end, as Jukebox does (arXiv:2005.00341, section 4.2).
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

MAX_LINES = 10_000  # of a song, with times
KEPT_BYTES = 1 << 14  # of a text whose lines are kept for its next window
_TIME = re.compile(r"\s*\[(\d{1,4}):(\d{1,2})(?:[.:](\d{1,3}))?\]")
_WORD_TIME = re.compile(r"[\[<]\d{1,4}:\d{1,2}(?:[.:]\d{1,3})?[\]>]")
_FACT = re.compile(r"\s*\[([A-Za-z#]+):(.*)\]\s*")


class Line(NamedTuple):
    """Words, sung from `begin_s` until `end_s`, which is None for the last of a song."""

    begin_s: float
    end_s: float | None
    words: str


class LyricsTokenizer(BytesTokenizer, Sliding):
    """A token for each byte of the whole text, times of lines among them; and the stretch of it that a window shows."""

    def __init__(self, block: str = "lyrics") -> None:
        super().__init__(block)

    def slide(self, ids: np.ndarray, begin_s: float, end_s: float, total_s: float, length: int) -> np.ndarray:
        """At most `length` ids for the seconds from `begin_s` to `end_s` of a sound of `total_s`: whole characters.

        Lines with times: those sung within the window, from the one that is being sung when it begins. Plain text: the
        stretch whose middle stands where the middle of the window does, or all of it where it is short enough.
        """
        data = check_ids(ids, BYTES).astype(np.uint8).tobytes()
        lines, middle_s = _lines_of(data), (begin_s + end_s) / 2
        if lines:
            shown = [line for line in lines if line.begin_s < end_s and (line.end_s is None or line.end_s > begin_s)]
            data, middle = _placed(shown, middle_s, total_s)
        else:
            middle = len(data) * middle_s / max(total_s, end_s, 1e-9)
        return np.frombuffer(around(data, middle, length), np.uint8).astype(np.int64)


def timed_lines(text: str) -> list[Line]:
    """Lines with words and when they are sung, in order of time; empty for a text without times.

    A line may have several times. One without any goes with the line before it. A positive offset is for earlier. What
    comes after MAX_LINES lines of text, or of lines counted as often as they have times, is left out.
    """
    found: list[tuple[float, str]] = []
    offset_s, times_s = 0.0, [0.0]
    any_times = False
    for line in text.splitlines()[:MAX_LINES]:
        if len(found) >= MAX_LINES:
            break
        if begin_s := _times_s(line):
            times_s, any_times = begin_s, True
        elif fact := _FACT.fullmatch(line):
            offset_s = _milliseconds(fact[2]) / 1000 if fact[1].lower() == "offset" else offset_s
            continue
        words = " ".join(_WORD_TIME.sub("", line).split())
        if words or begin_s:
            found += [(time_s, words) for time_s in times_s[: MAX_LINES - len(found)]]
    if not any_times:
        return []
    found = sorted(((max(0.0, time_s - offset_s), words) for time_s, words in found), key=lambda each: each[0])
    begins = [begin_s for begin_s, _ in found]
    ends: list[float | None] = [None] * len(found)
    for i in range(len(found) - 2, -1, -1):  # the next later time, which several lines of one time share
        ends[i] = begins[i + 1] if begins[i + 1] > begins[i] else ends[i + 1]
    return [Line(begin_s, end_s, words) for (begin_s, words), end_s in zip(found, ends) if words]


def _times_s(line: str) -> list[float]:
    """Those that a line begins with, MAX_LINES at most."""
    found: list[float] = []
    end = 0
    while len(found) < MAX_LINES and (match := _TIME.match(line, end)):
        found.append(_seconds(*match.groups()))
        end = match.end()
    return found


def around(data: bytes, middle: float, length: int) -> bytes:
    """At most `length` bytes of UTF-8, whole characters, those nearest to the byte in the middle."""
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
    """`timed_lines` of bytes: asked for each training window."""
    return _kept_lines(data) if len(data) <= KEPT_BYTES else timed_lines(data.decode(errors="replace"))


@lru_cache(maxsize=1024)
def _kept_lines(data: bytes) -> list[Line]:
    return timed_lines(data.decode(errors="replace"))


def _placed(lines: list[Line], time_s: float, total_s: float) -> tuple[bytes, float]:
    """UTF-8 of lines, and at which byte of it a moment stands: within its line as far as its time has gone."""
    parts = [line.words.encode() for line in lines]
    starts = [0, *accumulate(len(part) + 1 for part in parts)]
    place = 0.0
    for line, part, start in zip(lines, parts, starts):
        if line.begin_s <= time_s:
            lasts = max(line.end_s if line.end_s is not None else total_s, time_s, line.begin_s + 1e-9) - line.begin_s
            place = start + len(part) * (time_s - line.begin_s) / lasts
    return b"\n".join(parts), place


def _seconds(minutes: str, seconds: str, fraction: str) -> float:
    return int(minutes) * 60 + int(seconds) + float(f"0.{fraction or 0}")


def _milliseconds(text: str) -> float:
    """A number such as `+200`; 0 for anything else."""
    try:
        return float(int(text))
    except (ValueError, OverflowError):
        return 0.0
