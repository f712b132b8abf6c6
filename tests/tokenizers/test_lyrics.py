"""Lyrics, and the stretch of them that a window of the sound shows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helicon.tokenizers.lyrics import Line, LyricsTokenizer, around, timed_lines

DIGITS = "0123456789" * 10  # a character a second of a song of 100 seconds
SONG = """[ar:The Muses]
[Offset:+500]
[00:01.00]one
[00:06.00] [00:02.50]two
[00:04]three
[00:08.123]
"""
tokenizer = LyricsTokenizer()


def shown(text: str, begin_s: float, end_s: float, total_s: float = 100, length: int = 20) -> str:
    ids = tokenizer.slide(tokenizer.encode(text), begin_s, end_s, total_s, length)
    assert ids.dtype == np.int64
    assert len(ids) <= length
    return tokenizer.decode(ids)


@pytest.mark.parametrize(
    ("begin_s", "end_s", "first"),
    [(40, 60, 40), (0, 10, 0), (0, 20, 0), (12, 14, 3), (47, 48, 38), (95, 100, 80), (100, 120, 80)],
)
def test_plain_lyrics_are_sung_evenly(begin_s, end_s, first):
    assert shown(DIGITS, begin_s, end_s) == DIGITS[first : first + 20]


@pytest.mark.parametrize("begin_s", [0, 30, 99])
def test_short_lyrics_are_all_shown(begin_s):
    assert shown("Sing, goddess", begin_s, begin_s + 1) == "Sing, goddess"
    assert shown("", begin_s, begin_s + 1) == ""


def test_a_song_of_unknown_length_begins_with_its_lyrics():
    assert shown(DIGITS, 0, 0, total_s=0) == DIGITS[:20]


@given(st.text(alphabet="aé♫🎵\n", max_size=60), st.floats(-5, 70), st.integers(1, 24))
@settings(max_examples=150, deadline=None)
def test_characters_are_never_cut(text, middle, length):
    data = text.encode()
    cut = around(data, middle, length)
    assert cut.decode() in text
    assert len(cut) <= length
    if len(data) <= length:
        assert cut == data
    elif text.isascii():
        starts = range(len(data) - length + 1)
        best = min(abs(start + length / 2 - middle) for start in starts)
        assert any(cut == data[s : s + length] and abs(s + length / 2 - middle) < best + 0.51 for s in starts)
    else:
        assert len(cut) >= length - 6  # of two characters of up to 4 bytes at most 3 each are left out


def test_lines_are_sung_when_they_say():
    assert timed_lines(SONG) == [
        Line(0.5, 2.0, "one"), Line(2.0, 3.5, "two"), Line(3.5, 5.5, "three"), Line(5.5, pytest.approx(7.623), "two"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("window", "lines"),
    [
        ((0, 0.5), ""),
        ((0, 1), "one"),
        ((1, 4), "one\ntwo\nthree"),
        ((2, 3.5), "two"),  # from the end of one line to the beginning of another
        ((5, 7), "three\ntwo"),
        ((7.7, 9), ""),  # an empty line is a pause
    ],
)
def test_a_window_shows_the_lines_sung_in_it(window, lines):
    assert shown(SONG, *window) == lines


def test_the_last_line_is_sung_to_the_end():
    assert timed_lines("[00:01]a\n[00:02]b") == [Line(1, 2, "a"), Line(2, None, "b")]
    assert shown("[00:01]a\n[00:02]b", 50, 51) == "b"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("[01:02.5]x", [Line(62.5, None, "x")]),
        ("[01:02.05]x", [Line(62.05, None, "x")]),
        ("[01:02:50]x", [Line(62.5, None, "x")]),
        ("  [100:00] x", [Line(6000, None, "x")]),
        ("[00:05.00]<00:05.10>Sing <00:05.80>on", [Line(5, None, "Sing on")]),
        ("[00:02]b\n[00:01]a", [Line(1, 2, "a"), Line(2, None, "b")]),
        ("[00:01]a\nand on\n[00:03]b", [Line(1, 3, "a"), Line(1, 3, "and on"), Line(3, None, "b")]),
        ("[offset:1500]\n[00:01]a", [Line(0, None, "a")]),
        ("[offset: -250 ]\n[00:01]a", [Line(1.25, None, "a")]),
        ("[offset:soon]\n[00:01]a", [Line(1, None, "a")]),
        ("[00:01]a\r\n[00:02]b\r\n", [Line(1, 2, "a"), Line(2, None, "b")]),
        ("[Chorus]\nno times: 00:01\n[ar:x]", []),
        ("", []),
    ],
)
def test_times_are_read(text, lines):
    assert timed_lines(text) == lines


def test_of_lines_that_are_too_long_the_middle_of_the_window_is_shown():
    song = f"[00:00]{'a' * 40}\n[00:10]{'b' * 40}\n[00:20]{'c' * 40}"
    assert shown(song, 9, 11, 30) == "a" * 9 + "\n" + "b" * 10  # at 10 s the second line begins
    assert shown(song, 14, 16, 30) == "b" * 20
    assert shown(song, 0, 12, 30, 4) == "a" * 4
    assert shown(song, 20, 30, 30, 60) == "c" * 40


def test_windows_of_any_ids_are_shown():
    rng = np.random.default_rng(0)
    for _ in range(50):
        ids = rng.integers(256, size=80)
        assert len(tokenizer.slide(ids, 1, 2, 3, 16)) <= 16
    with pytest.raises(ValueError, match=r"ids must be 0 \.\. 255"):
        tokenizer.slide(np.array([256]), 1, 2, 3, 16)


def test_the_whole_text_is_kept():
    assert tokenizer.block.name == "lyrics"
    assert tokenizer.decode(tokenizer.encode(SONG)) == SONG
    assert tokenizer.encode("♫").tolist() == [0xE2, 0x99, 0xAB]
    again = LyricsTokenizer.from_state(json.loads(json.dumps(LyricsTokenizer("words").state())))
    assert (type(again), again.block.name) == (LyricsTokenizer, "words")


@pytest.mark.parametrize("offset", ["9" * 400, "9" * 5000, "-" + "9" * 400, "1e3", ""])
def test_an_offset_that_is_no_number_of_milliseconds_is_none(offset):
    assert timed_lines(f"[offset:{offset}]\n[00:01]la") == [Line(1.0, None, "la")]
