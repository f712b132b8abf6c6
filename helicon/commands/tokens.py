"""`helicon tokenize` and `helicon detokenize`: files as words or numbers, and back."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from helicon.bundle.bundle import Bundle
from helicon.bundle.storage import load_bundle
from helicon.cli import CommandError, reason
from helicon.commands.outputs import output_folder
from helicon.formats.files import read_regular
from helicon.formats.printable import MOST, print_text, printable
from helicon.modalities import registry
from helicon.modalities.base import Modality
from helicon.sequence.layout import Layout
from helicon.tokenizers import musenet

MAX_BYTES = 16 << 20  # of a file of printed tokens, which is read whole
LONGEST_NUMBER = 18  # digits, which 64 bits hold


def tokenize(args: Namespace) -> int:
    """Prints one line a file. A file that cannot be read is named on stderr; the others go on, and the status is 1."""
    bundle = load_bundle(Path(args.run)) if args.run else None
    faults = 0
    for name in args.files:
        try:
            line = _line(Path(name), bundle, args.ids)
        except (OSError, ValueError) as error:
            faults += 1
            print_text(f"helicon: {name}: {printable(reason(error), MOST)}", sys.stderr)
            continue
        print_text(line)  # not within `try`: a reader that has gone away is no fault of the file
    return 1 if faults else 0


def _line(path: Path, bundle: Bundle | None, ids: bool) -> str:
    if bundle is None:
        score, _ = registry.get("music").read(path)
        text = musenet.musenet_text(score)
        return " ".join(map(str, musenet.text_to_numbers(text))) if ids else text
    layout, modality = _layout_for(bundle, path.suffix.lower())
    media, _ = modality.read(path, options=bundle.reading)
    slots = [slot.name for slot in layout.slots if slot.name in modality.slots]
    numbers = [
        int(i) + bundle.schema.vocabulary.slice(slot).start
        for slot in slots
        for i in bundle.sequencer.tokenizers[slot].encode(media)
    ]
    names = _names(bundle)
    return " ".join(str(n) if ids else names[n] for n in numbers)


def _layout_for(bundle: Bundle, suffix: str) -> tuple[Layout, Modality]:
    for layout in bundle.schema.layouts:
        modality = registry.for_slot(layout.last.name, layout.sources)
        if suffix in modality.suffixes:
            return layout, modality
    accepted = [s for y in bundle.schema.layouts for s in registry.for_slot(y.last.name, y.sources).suffixes]
    raise ValueError(f"this model takes {' '.join(accepted)} files")


def _names(bundle: Bundle) -> list[str]:
    """Word of every row of the vocabulary; `stop` of a block is `BLOCK.stop`."""
    return [name for block in bundle.schema.vocabulary.blocks for name in (*block.tokens, f"{block.name}.stop")]


def detokenize(args: Namespace) -> int:
    """Writes a file for each line."""
    bundle, out = load_bundle(Path(args.run)) if args.run else None, Path(args.out)
    try:
        printed = read_regular(args.file, MAX_BYTES).decode()
    except UnicodeDecodeError as error:
        raise CommandError(f"{args.file}: not UTF-8 at byte {error.start}") from None
    lines = [line for line in printed.splitlines() if line.strip()]
    if not lines:
        raise CommandError(f"{args.file}: empty; one piece a line is expected, as `helicon tokenize` prints")
    decode: Callable[[str], tuple[Any, Modality]]
    decode = _from_musenet(args.ids) if bundle is None else _from_bundle(bundle, args.ids)
    with output_folder(out.parent):
        for number, line in enumerate(lines):
            try:
                media, modality = decode(line)
            except ValueError as error:
                raise CommandError(f"{args.file}, line {number + 1}: {printable(error, MOST)}") from None
            target = out if len(lines) == 1 else out.with_name(f"{out.stem}-{number:03d}{out.suffix}")
            modality.write(media, target)
    return 0


def _numbers(line: str) -> np.ndarray:
    for word in line.split():
        if not word.isdecimal():
            raise ValueError(f"{printable(word, 40)!r} is not a number; without --ids words are read")
        if len(word) > LONGEST_NUMBER:
            raise ValueError(f"a number of {len(word):,} digits is no token")
    return np.array([int(word) for word in line.split()], np.int64)


def _from_musenet(ids: bool) -> Callable[[str], tuple[Any, Modality]]:
    def decode(line: str) -> tuple[Any, Modality]:
        text = musenet.numbers_to_text(_numbers(line)) if ids else line
        return musenet.parse_score(text), registry.get("music")

    return decode


def _from_bundle(bundle: Bundle, ids: bool) -> Callable[[str], tuple[Any, Modality]]:
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
            modality = registry.for_slot(layout.last.name, layout.sources)
            parts = {}
            for slot in layout.slots:
                where = vocabulary.slice(slot.name)
                local = rows[(rows >= where.start) & (rows < where.stop - 1)] - where.start
                if slot.name in modality.slots and len(local):
                    parts[slot.name] = bundle.sequencer.tokenizers[slot.name].decode(local)
            if layout.last.name in parts:
                return modality.join(parts), modality
        raise ValueError("no tokens of a slot that this model makes")

    return decode
