"""Validators of values from JSON files and options: the value of the right type within bounds, or a ValueError."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from helicon.formats.printable import MAX_QUOTED, printable

LONGEST_NAME = 1000  # characters of a name: of a block, a token, a label
MAX_STEPS = 1 << 53  # of a training


def integer(name: str, value: Any, low: int, high: int) -> int:
    """Validate a whole number.

    Args:
        name: name of the value, for the message.
        value: anything; True and 2.0 are refused.
        low: least accepted number.
        high: greatest accepted number.

    Returns:
        The value, an int.

    Raises:
        ValueError: any other value.
    """
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} {shown(value)}: a whole number from {low:,} to {high:,} is accepted")
    return value


def number(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """Validate a finite number.

    Args:
        name: name of the value, for the message.
        value: anything; booleans are refused.
        low: least accepted number.
        high: greatest accepted number.

    Returns:
        The value, an int or float.

    Raises:
        ValueError: any other value.
    """
    if type(value) not in (int, float) or not low <= value <= high or not abs(value) < math.inf:
        raise ValueError(f"{name} {shown(value)}: a number from {low:g} to {high:g} is accepted")
    return value


def flag(name: str, value: Any) -> bool:
    """Validate a boolean.

    Args:
        name: name of the value, for the message.
        value: anything; 0 and 1 are refused.

    Returns:
        The value, a bool.

    Raises:
        ValueError: any other value.
    """
    if type(value) is not bool:
        raise ValueError(f"{name} {shown(value)}: true or false is accepted")
    return value


def text(name: str, value: Any, most: int = LONGEST_NAME) -> str:
    """Validate a string.

    Args:
        name: name of the value, for the message.
        value: anything.
        most: greatest accepted length in characters.

    Returns:
        The value, a str.

    Raises:
        ValueError: any other value.
    """
    if type(value) is not str or len(value) > most:
        raise ValueError(f"{name} {shown(value)}: a text of at most {most:,} characters is accepted")
    return value


def one_of(name: str, value: Any, accepted: Collection[str]) -> str:
    """Validate a word of a set.

    Args:
        name: name of the value, for the message.
        value: anything.
        accepted: the words of the set.

    Returns:
        The value, a str.

    Raises:
        ValueError: any other value.
    """
    if type(value) is not str or value not in accepted:
        raise ValueError(f"{name} {shown(value)} is not one of {', '.join(accepted)}")
    return value


def sequence(name: str, value: Any, most: int) -> list[Any]:
    """Validate a list or tuple; its items are not checked.

    Args:
        name: name of the value, for the message.
        value: anything.
        most: greatest accepted number of items.

    Returns:
        The items as a new list.

    Raises:
        ValueError: any other value.
    """
    if not isinstance(value, list | tuple) or len(value) > most:
        raise ValueError(f"{name} {shown(value)}: a list of at most {most:,} values is accepted")
    return list(value)


def texts(name: str, value: Any, most: int) -> list[str]:
    """Validate a list of strings of at most `LONGEST_NAME` characters.

    Args:
        name: name of the value, for the message.
        value: anything.
        most: greatest accepted number of strings.

    Returns:
        The strings as a new list.

    Raises:
        ValueError: any other value.
    """
    return [text(name, item) for item in sequence(name, value, most)]


def integers(name: str, value: Any, most: int, low: int, high: int) -> list[int]:
    """Validate a list of whole numbers.

    Args:
        name: name of the value, for the message.
        value: anything.
        most: greatest accepted number of items.
        low: least accepted number.
        high: greatest accepted number.

    Returns:
        The numbers as a new list.

    Raises:
        ValueError: any other value.
    """
    return [integer(name, item, low, high) for item in sequence(name, value, most)]


def fields(name: str, value: Any, accepted: Collection[str]) -> Mapping[str, Any]:
    """Validate an object of exactly the accepted fields.

    Args:
        name: name of the value, for the message.
        value: anything.
        accepted: names of the fields.

    Returns:
        The value, a mapping.

    Raises:
        ValueError: a field is missing or unexpected, or the value is not an object.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} {shown(value)}: an object is accepted")
    wrong = [f"without {field}" for field in accepted if field not in value]
    wrong += [f"with {shown(field)}" for field in value if field not in accepted]
    if wrong:
        raise ValueError(f"{name} {wrong[0]}: {', '.join(accepted) or 'nothing'} is accepted")
    return value


def notes_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `notes` in the config of a model (a mapping): name -> value, empty where there are none.

    Only `step` and `val_loss`, which are printed, are validated.

    Raises:
        ValueError: the notes are not an object, or a validated number is out of range.
    """
    notes = config.get("notes", {})
    if not isinstance(notes, dict):
        raise ValueError(f"notes {shown(notes)}: an object is accepted")
    if "step" in notes:
        integer("step of the notes", notes["step"], 0, MAX_STEPS)
    if "val_loss" in notes:
        number("val_loss of the notes", notes["val_loss"])
    return notes


def shown(value: Any) -> str:
    """Format a value of any type for an error message: at most 80 characters; of large containers the length alone."""
    if isinstance(value, str):
        return printable(repr(value[:MAX_QUOTED]), 80) if len(value) <= MAX_QUOTED else f"of {len(value):,} characters"
    if isinstance(value, list) and len(value) <= 8 and all(type(item) in (int, float) for item in value):
        return printable(repr(value), 80)
    if isinstance(value, list | tuple | Mapping | set):
        return f"{'an object' if isinstance(value, Mapping) else 'a list'} of {len(value):,}"
    if type(value) is int and value.bit_length() > 256:
        return "of too many digits"
    return printable(repr(value), 80)
