"""Labels as words, and error texts for words that are not known."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from difflib import get_close_matches


def slug(label: str) -> str:
    """A label as one word: lower case, anything but letters, digits, '_', '.' and '-' becomes '-'."""
    return re.sub(r"[^\w.]+", "-", unicodedata.normalize("NFC", label).lower()).strip("-")


def unknown(what: str, word: str, names: Iterable[str]) -> str:
    """One line: what the word was meant to be, and the names nearest to it, or the first few."""
    names = list(names)
    near = get_close_matches(word, names, n=3, cutoff=0.5)
    if near:
        return f"unknown {what} {word!r}; nearest: {', '.join(near)}"
    return f"unknown {what} {word!r}; known: {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}"
