"""Which examples belong together: those of a file, of a pair, of one side of the split."""

from __future__ import annotations

from collections.abc import Sequence

from helicon.data.entries import Entry
from helicon.objectives.base import Examples


def split_unit(name: str, entry: Entry, examples: Examples) -> str:
    """What is on one side of the split: all of a prompt, of a labelled file, or else of a document.

    By stem, so that what belongs to one picture is on one side, whatever stages it is trained in.
    """
    if entry.side:
        return "\n".join(entry.texts) or entry.side.pair
    whole = entry.name if examples == "labelled" else name
    return whole.removesuffix(next(iter(entry.files.values())).suffix)


def file_numbers(entries: Sequence[Entry]) -> list[int]:
    """Of each example's file, where several are of one; empty where each has its own."""
    numbers: dict[int, int] = {}
    found = [numbers.setdefault(id(entry), len(numbers)) for entry in entries]
    return found if len(numbers) < len(found) else []


def paired_examples(entries: Sequence[Entry]) -> list[tuple[int, int]]:
    """(chosen, rejected) of each pair of which both could be read, by the examples' numbers."""
    sides: dict[str, dict[bool, int]] = {}
    for number, entry in enumerate(entries):
        if entry.side:
            sides.setdefault(entry.side.pair, {})[entry.side.chosen] = number
    return [(found[True], found[False]) for found in sides.values() if len(found) == 2]
