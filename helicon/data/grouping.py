"""Grouping of examples: those of one file, of one pair, and of one unit of the split."""

from __future__ import annotations

from collections.abc import Sequence

from helicon.data.entries import Entry
from helicon.objectives.base import Examples


def split_units(names: Sequence[str], entries: Sequence[Entry], examples: Examples) -> list[str]:
    """Name the unit of each example that the split keeps in one part.

    The unit is the file stem, with a document's number unless examples are labelled: the media of one stem are in one
    part in every stage of a training. Preference pairs that share a prompt or a file are one unit (union-find).

    Args:
        names: of each example.
        entries: `Entry` of each example.
        examples: `Examples`, kind of example.

    Returns:
        Name of the unit of each example, a list as long as `names`.
    """
    unit_names = [entry.name if examples == "labelled" else name for name, entry in zip(names, entries)]
    stems = [w.removesuffix(next(iter(entry.files.values())).suffix) for w, entry in zip(unit_names, entries)]
    heads: dict[tuple[str, ...], tuple[str, ...]] = {}  # union-find forest: child -> parent

    def head(key: tuple[str, ...]) -> tuple[str, ...]:
        while key != (above := heads.setdefault(key, key)):
            heads[key] = heads[above]
            key = above
        return key

    for stem, entry in zip(stems, entries):
        if entry.side:
            for other in (("pair", entry.side.pair), *([("prompt", *entry.texts)] if entry.texts else ())):
                first, second = sorted((head(other), head(("file", stem))))
                heads[second] = first
    return ["\n".join(head(("file", s))) if entry.side else s for s, entry in zip(stems, entries)]


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
