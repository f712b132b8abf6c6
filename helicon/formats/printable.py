"""Escaping of text from strangers (file names, captions, library messages) for terminals, logs, pages and JSON.

Terminals obey control characters, and direction marks make a name read as another one: all of these are escaped.
"""

from __future__ import annotations

import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from typing import TextIO

MAX_QUOTED = 200  # characters of somebody else's text in a message of ours
STANDARD_OUTPUT = "standard output"
JOINERS = "\u200c\u200d"  # parts of words and of emoji, which change nothing around them
# Cyrillic and Greek letters that most fonts draw as the Latin ones (of Unicode's confusables.txt, those on keyboards)
_LATIN = str.maketrans(
    "асеорхуіјѕАВЕКМНОРСТХУІЈЅοΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "aceopxyijsABEKMHOPCTXYIJSoABEZHIKMNOPTYX",
)


def printable(text: object, limit: int | None = None) -> str:
    """Format text as one line that any terminal shows verbatim.

    Control, format and direction characters, lone surrogates and line ends are escaped.

    Args:
        text: anything that `str` takes.
        limit: greatest length in characters, kept by leaving out the middle; None for any.

    Returns:
        The line as text.
    """
    line = _cut(str(text), limit)
    return line if line.isprintable() else _cut("".join(map(_character, line)), limit)


def _cut(line: str, limit: int | None) -> str:
    if limit is None or len(line) <= limit:
        return line
    return f"{line[: limit // 2]}...{line[len(line) - limit // 2 + 3 :]}"


def printable_text(text: str) -> str:
    """Escape text of several lines as `printable` does; line feeds and tabs stay."""
    return "\n".join("\t".join(map(printable, line.split("\t"))) for line in text.split("\n"))


def distinguished(names: Iterable[object], limit: int | None = None) -> list[str]:
    """Format names for one message as `printable` does; of different names that look alike, all but ASCII is escaped.

    Args:
        names: anything that `str` takes, such as file names.
        limit: greatest length of each in characters, as for `printable`.

    Returns:
        A line for each name, in order.
    """
    texts = list(map(str, names))
    alike: dict[str, set[str]] = defaultdict(set)
    for text in texts:
        alike[_looks(text)].add(text)
    return [printable(ascii(text)[1:-1] if len(alike[_looks(text)]) > 1 else text, limit) for text in texts]


def print_text(text: object, file: TextIO | None = None) -> None:
    """Print escaped text; the only way of our text to a terminal or log.

    Args:
        text: anything that `str` takes, of one or more lines.
        file: open text file; standard output unless given.

    Raises:
        OSError: the file cannot be written to; the error names standard output.
    """
    try:
        print(printable_text(str(text)), file=file or sys.stdout, flush=True)
    except OSError as error:
        if file in (None, sys.stdout):
            error.filename = STANDARD_OUTPUT
        raise


def _looks(text: str) -> str:
    """Return a text that is the same for names that look alike: composed letters, other scripts, hidden characters."""
    visible = "".join(character for character in text if unicodedata.category(character) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", visible).translate(_LATIN).split())


def _character(character: str) -> str:
    return character if character.isprintable() or character in JOINERS else ascii(character)[1:-1]
