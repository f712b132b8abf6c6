"""Values of strangers' JSON and of options: of the right type and within bounds, or refused in one line."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from helicon.formats.printable import MOST, printable

LONGEST_NAME = 1000  # characters of a name: of a block, a token, a label
MOST_STEPS = 1 << 53  # of a training


def whole(name: str, value: Any, low: int, high: int) -> int:
    """A whole number from `low` to `high`; ValueError for any other value, also for true and 2.0."""
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} {shown(value)}: a whole number from {low:,} to {high:,} is accepted")
    return value


def number(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number from `low` to `high`; ValueError for any other value."""
    if type(value) not in (int, float) or not low <= value <= high or not abs(value) < math.inf:
        raise ValueError(f"{name} {shown(value)}: a number from {low:g} to {high:g} is accepted")
    return value


def flag(name: str, value: Any) -> bool:
    """True or false; ValueError for any other value."""
    if type(value) is not bool:
        raise ValueError(f"{name} {shown(value)}: true or false is accepted")
    return value


def text(name: str, value: Any, most: int = LONGEST_NAME) -> str:
    """A string of at most `most` characters; ValueError for any other value."""
    if type(value) is not str or len(value) > most:
        raise ValueError(f"{name} {shown(value)}: a text of at most {most:,} characters is accepted")
    return value


def one_of(name: str, value: Any, accepted: Collection[str]) -> str:
    """One of some words; ValueError for any other value."""
    if type(value) is not str or value not in accepted:
        raise ValueError(f"{name} {shown(value)} is not one of {', '.join(accepted)}")
    return value


def sequence(name: str, value: Any, most: int) -> list[Any]:
    """A list of at most `most` values; ValueError for any other value."""
    if not isinstance(value, list | tuple) or len(value) > most:
        raise ValueError(f"{name} {shown(value)}: a list of at most {most:,} values is accepted")
    return list(value)


def texts(name: str, value: Any, most: int) -> list[str]:
    """A list of strings; ValueError for any other value."""
    return [text(name, each) for each in sequence(name, value, most)]


def wholes(name: str, value: Any, most: int, low: int, high: int) -> list[int]:
    """A list of whole numbers; ValueError for any other value."""
    return [whole(name, each, low, high) for each in sequence(name, value, most)]


def fields(name: str, value: Any, accepted: Collection[str]) -> Mapping[str, Any]:
    """An object with exactly these fields; ValueError for any other value."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} {shown(value)}: an object is accepted")
    wrong = [f"without {field}" for field in accepted if field not in value]
    wrong += [f"with {shown(field)}" for field in value if field not in accepted]
    if wrong:
        raise ValueError(f"{name} {wrong[0]}: {', '.join(accepted) or 'nothing'} is accepted")
    return value


def notes_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The notes of a model's JSON, whatever they are but for numbers that are shown; ValueError for what is none."""
    notes = config.get("notes", {})
    if not isinstance(notes, dict):
        raise ValueError(f"notes {shown(notes)}: an object is accepted")
    if "step" in notes:
        whole("step of the notes", notes["step"], 0, MOST_STEPS)
    if "heldout_loss" in notes:
        number("heldout_loss of the notes", notes["heldout_loss"])
    return notes


def shown(value: Any) -> str:
    """A value in a message: at most 80 characters of it; of a list or an object, which may be huge, how long it is."""
    if isinstance(value, str):
        return printable(repr(value[:MOST]), 80) if len(value) <= MOST else f"of {len(value):,} characters"
    if isinstance(value, list) and len(value) <= 8 and all(type(each) in (int, float) for each in value):
        return printable(repr(value), 80)
    if isinstance(value, list | tuple | Mapping | set):
        return f"{'an object' if isinstance(value, Mapping) else 'a list'} of {len(value):,}"
    if type(value) is int and value.bit_length() > 256:
        return "of too many digits"
    return printable(repr(value), 80)
