"""JSON of strangers: bounded before it is read, with errors of one line that name the file."""

from __future__ import annotations

import json
import math
import os
from typing import Any, NoReturn

from helicon.formats.files import read_regular
from helicon.formats.printable import MOST, printable

LONGEST = 24_000_000  # bytes of a file
MOST_CONTAINERS, MOST_VALUES = 600_000, 2_500_000  # in one text: lists and objects, and what they hold
DIGITS = 25  # of a whole number, its sign included


class JsonError(ValueError):
    """A file that holds no JSON as it is accepted; the message names it and what is wrong."""


def read_json(path: str | os.PathLike[str], most: int = LONGEST, links: bool = True) -> Any:
    """The value in a regular file of at most `most` bytes; JsonError for all else. links: as `open_regular`."""
    name = printable(os.fspath(path))
    try:
        content = read_regular(path, most, links)
    except OSError as error:
        raise JsonError(f"{name}: {error.strerror}") from None
    try:
        return parse_json(content)
    except JsonError as error:
        raise JsonError(f"{name}: {error}") from None


def parse_json(content: bytes, most_containers: int = MOST_CONTAINERS, most_values: int = MOST_VALUES) -> Any:
    """The value of a text in UTF-8; JsonError for what is none, or more than can be wanted.

    Numbers are finite, whole ones of at most 25 digits, and no key is there twice. Lists and objects are counted before
    any of them is made, by their brackets and commas, those in strings too.
    """
    containers, values = content.count(b"[") + content.count(b"{"), content.count(b",")
    if containers > most_containers or values > most_values:
        accepted = f"{most_containers:,} lists and objects and {most_values:,} values"
        raise JsonError(f"not JSON as it is accepted, of at most {accepted}")
    try:
        return _DECODER.decode(content.decode("utf-8"))
    except RecursionError:
        raise JsonError("not JSON as it is accepted: nested too deep") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        raise JsonError(f"not JSON as it is accepted ({printable(error.msg, MOST)} at {place})") from None
    except ValueError as error:
        raise JsonError(f"not JSON as it is accepted ({printable(error, MOST)})") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


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
