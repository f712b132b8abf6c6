"""Text of strangers (names of files, captions, notes, messages of libraries) on its way to terminal, log, page or JSON.

Terminals obey control characters, and direction marks make a name read as another one: all of these are escaped here.
"""

from __future__ import annotations

import sys
from typing import TextIO

MOST = 200  # characters of somebody else's text in a message of ours
STANDARD_OUTPUT = "standard output"
JOINERS = "\u200c\u200d"  # parts of words and of emoji, which change nothing around them


def printable(text: object, limit: int | None = None) -> str:
    """The text in one line that any terminal shows as it is: control, format and direction characters are escaped.

    Lone surrogates and line ends are escaped too. limit: characters, of which the middle is left out beyond.
    """
    line = _cut(str(text), limit)
    return line if line.isprintable() else _cut("".join(map(_character, line)), limit)


def _cut(line: str, limit: int | None) -> str:
    if limit is None or len(line) <= limit:
        return line
    return f"{line[: limit // 2]}...{line[len(line) - limit // 2 + 3 :]}"


def printable_text(text: str) -> str:
    """The same for text of several lines: line feeds and tabs stay."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def print_text(text: object, file: TextIO | None = None) -> None:
    """Prints lines, on standard output unless `file` is given: the way of all text of ours to a terminal or a log."""
    try:
        print(printable_text(str(text)), file=file or sys.stdout, flush=True)
    except OSError as error:
        if file in (None, sys.stdout):
            error.filename = STANDARD_OUTPUT
        raise


def _character(character: str) -> str:
    return character if character.isprintable() or character in JOINERS else ascii(character)[1:-1]
