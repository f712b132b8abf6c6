"""Labels as words, and what is said of words that are not known."""

from __future__ import annotations

import pytest

from helicon.formats.nearest import unknown
from helicon.tokenizers.names import slug


@pytest.mark.parametrize(
    ("label", "word"),
    [
        ("Lady Gaga", "lady-gaga"), ("nottingham_folk", "nottingham_folk"), ("Dvořák", "dvořák"), ("a:b/c", "a-b-c"),
        ("  ", ""), ("موسيقى", "موسيقى"), ("No. 5!", "no.-5"),
    ],
)  # fmt: skip
def test_slugs(label, word):
    assert slug(label) == word


def test_names_that_are_near_are_offered():
    assert unknown("label", "jakson", ["george", "jackson", "lucas"]) == "unknown label 'jakson'; nearest: jackson"
    assert unknown("label", "zzz", list("abc")) == "unknown label 'zzz'; known: a, b, c"
    assert unknown("label", "zzz", list("abcdefghi")) == "unknown label 'zzz'; known: a, b, c, d, e, f, g, h, ..."
