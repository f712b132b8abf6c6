"""Conversion of files to printed tokens, as words or ids, and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from helicon.bundle.bundle import Bundle
from helicon.formats.printable import printable
from helicon.formats.read_report import ReadReport
from helicon.modalities import registry
from helicon.modalities.base import Modality, remedy
from helicon.sequence.layout import Layout
from helicon.tokenizers import musenet

MAX_DIGITS = 18  # of an id: more may not fit into 64 bits

Decode = Callable[[str], tuple[Any, Modality]]  # line -> media object, and the modality that can write it


class PrintedTokens(NamedTuple):
    """Lines of a file's tokens, separated by spaces, and counts of what reading and encoding dropped or repaired."""

    lines: list[str]
    report: ReadReport


def tokens_of(path: Path, bundle: Bundle | None = None, ids: bool = False) -> PrintedTokens:
    """Encode a file and print its tokens on a line, or on one for each document between marks in a text.

    Args:
        path: of a file that the model reads; without a model, of a MIDI file.
        bundle: `Bundle`, model whose vocabulary is used; None for MuseNet's.
        ids: True prints numbers, rows of the whole vocabulary, instead of words.

    Returns:
        `PrintedTokens` of all slots that the file has, a line for each document.

    Raises:
        ValueError: the model does not read such files, or the file is damaged.
        OSError: the file cannot be opened.
    """
    if bundle is None:
        score, counts = registry.get("music").read(path)
        text, report = musenet.musenet_text_with_report(score)
        line = " ".join(map(str, musenet.text_to_numbers(text))) if ids else text
        return PrintedTokens([line], ReadReport.total([counts, report.counts]))
    layout, modality = _layout_for(bundle, path.name)
    media, counts = modality.read(path, options=bundle.reading)
    slots = [slot.name for slot in layout.slots if slot.name in modality.slots]
    names, starts = _names(bundle), {slot: bundle.schema.vocabulary.slice(slot).start for slot in slots}
    lines, losses = [], [counts]
    for document in modality.separate(media):
        encodings = {slot: bundle.encode_with_report(slot, document) for slot in slots}
        numbers = [int(i) + starts[slot] for slot, (local_ids, _) in encodings.items() for i in local_ids]
        lines.append(" ".join(str(n) if ids else names[n] for n in numbers))
        losses += [lost for _, lost in encodings.values()]
    return PrintedTokens(lines, ReadReport.total(losses))


def _layout_for(bundle: Bundle, name: str) -> tuple[Layout, Modality]:
    for layout in bundle.schema.layouts:
        modality = registry.for_slot(layout.target.name, layout.all_slots)
        if modality.accepted_suffix(name):
            return layout, modality
    modalities = [registry.for_slot(y.target.name, y.all_slots) for y in bundle.schema.layouts]
    accepted = " ".join(suffix for modality in modalities for suffix in modality.suffixes)
    hint = remedy(name, modalities)
    raise ValueError(f"this model takes {accepted} files{f'; {hint}' if hint else ''}")


def _names(bundle: Bundle) -> list[str]:
    """Return the word of each row of the vocabulary; `eos` of a block is `BLOCK.stop`."""
    return [name for block in bundle.schema.vocabulary.blocks for name in (*block.tokens, f"{block.name}.stop")]


def decoder(bundle: Bundle | None = None, ids: bool = False) -> Decode:
    """Build the inverse of `tokens_of`.

    Args:
        bundle: `Bundle`, model whose vocabulary is used; None for MuseNet's.
        ids: True reads numbers, rows of the whole vocabulary, instead of words.

    Returns:
        Function of a line of tokens; it returns (media object, modality that can write it) and raises ValueError for
        unknown tokens.
    """
    return _from_musenet(ids) if bundle is None else _from_bundle(bundle, ids)


def _numbers(line: str) -> np.ndarray:
    for word in line.split():
        if not word.isdecimal():
            raise ValueError(f"{printable(word, 40)!r} is not a number; without --ids words are read")
        if len(word) > MAX_DIGITS:
            raise ValueError(f"a number of {len(word):,} digits is no token")
    return np.array([int(word) for word in line.split()], np.int64)


def _from_musenet(ids: bool) -> Decode:
    def decode(line: str) -> tuple[Any, Modality]:
        text = musenet.numbers_to_text(_numbers(line)) if ids else line
        if musenet.START not in text.split() and ":" not in text:
            raise ValueError(f"{printable(line, 40)!r} has neither `{musenet.START}` nor an event such as piano:v72:G1")
        return musenet.parse_score(text), registry.get("music")

    return decode


def _from_bundle(bundle: Bundle, ids: bool) -> Decode:
    index = {name: row for row, name in reversed(list(enumerate(_names(bundle))))}
    vocabulary = bundle.schema.vocabulary

    def decode(line: str) -> tuple[Any, Modality]:
        if not ids:
            for word in line.split():
                if word not in index:
                    raise ValueError(f"{printable(word, 40)!r} is no token of this model")
        rows = _numbers(line) if ids else np.array([index[word] for word in line.split()], np.int64)
        if len(rows) and rows.max() >= len(vocabulary):
            raise ValueError(f"{rows.max()} is no token of this model; it has {len(vocabulary)}")
        for layout in bundle.schema.layouts:
            modality = registry.for_slot(layout.target.name, layout.all_slots)
            parts = {}
            for slot in layout.slots:
                where = vocabulary.slice(slot.name)
                local = rows[(rows >= where.start) & (rows < where.stop - 1)] - where.start
                if slot.name in modality.slots and len(local):
                    (parts[slot.name],) = bundle.decode(slot.name, [local])
            if layout.target.name in parts:
                return modality.join(parts), modality
        raise ValueError("no tokens of a slot that this model makes")

    return decode
