"""Grouping of examples: those of one file, and those of one pair."""

from __future__ import annotations

from collections.abc import Sequence

from helicon.data.entries import Entry


def file_numbers(entries: Sequence[Entry]) -> list[int]:
    """Return a list of the number of each example's file, from 0; [] where each example has its own file.

    Args:
        entries: `Entry` of each example; documents of one file have the same object.
    """
    numbers: dict[int, int] = {}
    file_ids = [numbers.setdefault(id(entry), len(numbers)) for entry in entries]
    return file_ids if len(numbers) < len(file_ids) else []


def paired_examples(entries: Sequence[Entry]) -> list[tuple[int, int]]:
    """Return the (chosen, rejected) example numbers of each pair whose both sides could be read.

    Args:
        entries: `Entry` of each example, in order of the example numbers.
    """
    sides: dict[str, dict[bool, int]] = {}
    for number, entry in enumerate(entries):
        if entry.side:
            sides.setdefault(entry.side.pair, {})[entry.side.chosen] = number
    return [(pair[True], pair[False]) for pair in sides.values() if len(pair) == 2]
