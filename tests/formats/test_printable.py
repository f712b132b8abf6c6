"""Nothing that a stranger wrote reaches a terminal as a command."""

import unicodedata

import pytest

from helicon.formats.nearest import unknown
from helicon.formats.printable import distinguished, printable, printable_text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Bach – Präludium, 前奏曲.mid", "Bach – Präludium, 前奏曲.mid"),
        ("\x1b]0;pwn\x07\x1b[31m", "\\x1b]0;pwn\\x07\\x1b[31m"),
        ("two\nlines\r\x7f", "two\\nlines\\r\\x7f"),
        ("gpj.\u202egnp", "gpj.\\u202egnp"),
        ("\x9b31m\ud800\u2028", "\\x9b31m\\ud800\\u2028"),
        ("👩\u200d🚀", "👩\u200d🚀"),
    ],
)
def test_one_line_of_printable_characters(text, line):
    assert printable(text) == line


def test_no_control_or_direction_character_is_left():
    every = "".join(map(chr, range(0x3100))) + "\U000e0041\ufeff"
    left = {unicodedata.category(c) for c in printable(every)} & {"Cc", "Cs", "Co", "Zl", "Zp"}
    assert not left
    assert {c for c in printable(every) if unicodedata.category(c) == "Cf"} == {"\u200c", "\u200d"}


def test_a_long_text_keeps_both_ends():
    assert printable("a" * 500 + "z" * 500, 200) == "a" * 100 + "..." + "z" * 97
    assert len(printable("x" * 10**6, 200)) == 200


def test_lines_and_tabs_of_a_text_stay():
    assert printable_text("one\ttwo\n\x1b[2Jthree\r\n") == "one\ttwo\n\\x1b[2Jthree\\r\n"


@pytest.mark.parametrize("other", ["caf\u00e9", "cafe\u0301 ", "c\u0430f\u00e9", "cafe\u0301\u200b"])
def test_names_that_look_alike_are_escaped(other):
    first, second, third = distinguished(["cafe\u0301", other, "th\u00e9"])
    assert (first, second, third) == ("cafe\\u0301", ascii(other)[1:-1], "th\u00e9")


def test_an_unknown_name_differs_from_its_nearest():
    assert unknown("label", "caf\u00e9", ["cafe\u0301"]) == "unknown label 'caf\\xe9'; nearest: cafe\\u0301"
    assert unknown("label", "caf\u00e8", ["caf\u00e9"]) == "unknown label 'caf\u00e8'; nearest: caf\u00e9"
