"""Which examples belong together: those of a file, of a pair, of one side of the split."""

from __future__ import annotations

from collections.abc import Sequence

from helicon.data.entries import Entry
from helicon.objectives.base import Examples


def split_units(names: Sequence[str], entries: Sequence[Entry], examples: Examples) -> list[str]:
    """What is on one side of the split with each example: all of a labelled file, or else of a document.

    Of pairs all of a prompt, and all that share a file. By stem, so that what belongs to one picture is on one side,
    whatever stages it is trained in.
    """
    wholes = [entry.name if examples == "labelled" else name for name, entry in zip(names, entries)]
    stems = [w.removesuffix(next(iter(entry.files.values())).suffix) for w, entry in zip(wholes, entries)]
    heads: dict[tuple[str, ...], tuple[str, ...]] = {}  # of what belongs together each points nearer to the first one

    def head(one: tuple[str, ...]) -> tuple[str, ...]:
        while one != (above := heads.setdefault(one, one)):
            heads[one] = heads[above]
            one = above
        return one

    for stem, entry in zip(stems, entries):
        if entry.side:
            for other in (("pair", entry.side.pair), *([("prompt", *entry.texts)] if entry.texts else ())):
                first, second = sorted((head(other), head(("file", stem))))
                heads[second] = first
    return ["\n".join(head(("file", s))) if entry.side else s for s, entry in zip(stems, entries)]


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
