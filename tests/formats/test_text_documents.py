"""Marks between documents of a text file."""

from __future__ import annotations

import pytest

from helicon.formats.text_documents import check_separator, mark, separate, unmarked


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        ("no mark\n", ["no mark\n"]),
        ("", [""]),
        ("<|endoftext|>", [""]),
        ("one\n<|endoftext|>\ntwo\n<|endoftext|>\n", ["one\n", "two\n"]),
        ("one<|endoftext|>two", ["one", "two"]),
        ("one<|endoftext|>\ntwo", ["one", "\ntwo"]),
        ("<|endoftext|>\none\n<|endoftext|>\n<|endoftext|>\n \n<|endoftext|>two", ["one\n", "two"]),
        ("one\n<|endoftext|>\n\ntwo", ["one\n", "\ntwo"]),
    ],
)
def test_marks_part_documents(text, documents):
    assert separate(text) == documents
    assert "<|" not in unmarked(text)


def test_a_separator_is_a_mark_beside_the_usual_one():
    assert mark("a\n%\nb<|endoftext|>c", "\n%\n") == ("a<|endoftext|>b<|endoftext|>c", 2)
    assert mark("a\n\nb", check_separator(r"\n\n")) == ("a<|endoftext|>b", 1)
    assert mark("a") == ("a", 0)
    with pytest.raises(ValueError, match=r"^separator: a text between documents is needed"):
        check_separator("")
