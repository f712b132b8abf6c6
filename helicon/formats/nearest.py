"""Error messages for unknown names, with the nearest known ones."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from helicon.formats.printable import distinguished

LONGEST_WORD, MAX_NAMES = 60, 50_000  # of a message, and among which near ones are looked for


def unknown(what: str, word: str, names: Iterable[str]) -> str:
    """Format an error message for an unknown name.

    Args:
        what: kind of thing that the name should be of, such as "preset".
        word: the unknown name.
        names: the known names.

    Returns:
        A line that lists up to three near names, or the first eight where none is near.
    """
    names, word = list(names), word if len(word) <= LONGEST_WORD else f"{word[:LONGEST_WORD]}..."
    # To look for near names among very many takes longer than it helps
    near = get_close_matches(word, names, n=3, cutoff=0.5) if len(names) <= MAX_NAMES else []
    hint, listed = ("nearest", near) if near else ("known", names[:8])
    quoted, *shown = distinguished([word, *listed], LONGEST_WORD + len("..."))
    more = ", ..." if not near and len(names) > 8 else ""
    return f"unknown {what} '{quoted}'; {hint}: {', '.join(shown)}{more}"
