"""JSON files from strangers: bounded before parsing, with one-line errors that name the file."""

from __future__ import annotations

import json
import math
import os
from typing import Any, NoReturn

from helicon.formats.files import read_regular
from helicon.formats.printable import MAX_QUOTED, printable

LONGEST = 24_000_000  # bytes of a file
MAX_CONTAINERS, MAX_VALUES = 600_000, 2_500_000  # in one text: lists and objects, and what they hold
DIGITS = 25  # of a whole number, its sign included


class JsonError(ValueError):
    """A file or text that is not acceptable JSON; the message says where and why."""


def read_json(path: str | os.PathLike[str], most: int = LONGEST, links: bool = True) -> Any:
    """Read a JSON file.

    Args:
        path: path of a regular file.
        most: greatest accepted size in bytes.
        links: True to accept a symbolic link to a regular file.

    Returns:
        The value: dict, list, string, number, bool or None.

    Raises:
        JsonError: the file cannot be read or parsed.
    """
    name = printable(os.fspath(path))
    try:
        content = read_regular(path, most, links)
    except OSError as error:
        raise JsonError(f"{name}: {error.strerror}") from None
    try:
        return parse_json(content)
    except JsonError as error:
        raise JsonError(f"{name}: {error}") from None


def parse_json(content: bytes | str, most_containers: int = MAX_CONTAINERS, most_values: int = MAX_VALUES) -> Any:
    """Parse JSON text, with limits that are checked before any object is allocated.

    Numbers must be finite, whole ones of at most 25 digits; duplicate keys are refused. Containers and values are
    estimated by counting brackets and commas, also those within strings.

    Args:
        content: JSON text, or its UTF-8 bytes.
        most_containers: greatest accepted number of lists and objects.
        most_values: greatest accepted number of values.

    Returns:
        The value: dict, list, string, number, bool or None.

    Raises:
        JsonError: the text is malformed or beyond a limit.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8")
        if text.count("[") + text.count("{") > most_containers or text.count(",") > most_values:
            raise ValueError(f"of at most {most_containers:,} lists and objects and {most_values:,} values")
        return _DECODER.decode(text)
    except RecursionError:
        raise JsonError("not JSON as it is accepted: nested too deep") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        raise JsonError(f"not JSON as it is accepted ({printable(error.msg, MAX_QUOTED)} at {place})") from None
    except ValueError as error:
        raise JsonError(f"not JSON as it is accepted ({printable(error, MAX_QUOTED)})") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key is there twice")
    return value


def _integer(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number too large")
    return value


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


# One for all, as making it takes longer than most rows of a manifest
_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant
)
