"""Quantities as people write them: `1 token`, `2,000 tokens`, `42 s`, `6 min 40 s`."""

from __future__ import annotations


def quantity(number: int, noun: str) -> str:
    """Return a number with its noun, plural unless the number is 1.

    Args:
        number: how many, an int.
        noun: singular of a regular noun, such as `token`.

    Returns:
        Text such as `1 token` or `2,000 tokens`.
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def duration(seconds: float) -> str:
    """Return seconds, at least 0, as text in the two largest units: `0.25 s`, `42 s`, `6 min 40 s`, `2 h 5 min`."""
    if seconds < 9.5:
        return f"{seconds:.2g} s"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        large, small, unit = f"{hours:,} h", minute, "min"
    else:
        large, small, unit = f"{minutes} min" if minutes else "", second, "s"
    return large if large and not small else f"{large} {small} {unit}".strip()
