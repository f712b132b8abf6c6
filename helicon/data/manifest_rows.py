"""Rows of manifests: CSV, JSONL and COCO-style JSON, in any encoding."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from helicon.data.entries import DataError, Side
from helicon.formats.json_files import JsonError, parse_json
from helicon.formats.printable import printable
from helicon.formats.text_files import open_text

# Accepted manifests in words, and an example of each kind, for error messages
KINDS = "a CSV or JSONL file with columns file, label, text (or caption), or COCO-style JSON"
PAIRS = "a CSV or JSONL file with columns chosen, rejected, prompt"
ROW = '{"file": "a.mid", "label": "bach", "text": ["slow", "quiet"]}'
COCO = '{"images": [{"id": 1, "file_name": "a.png"}], "annotations": [{"image_id": 1, "caption": "a cat"}]}'
SIDES = ("chosen", "rejected")  # of a pair
COLUMNS = ("file", "label", "text", "caption", "prompt", *SIDES)
MAX_LINE = 8 << 20  # characters of a row: far more than a file name with its captions needs
MAX_LINES = 2_000_000  # of a file, and images and captions of COCO-style JSON
MAX_JSON_BYTES = 256 << 20  # of COCO-style JSON, which is read whole; the captions of COCO itself are 91 MB
MAX_CONTAINERS = MAX_LINES + 10_000  # of COCO-style JSON: one for each image and caption, and some for licences
MAX_VALUES = 5 * MAX_LINES  # of COCO-style JSON: COCO's images have 8, their five captions 3 each, and commas
NO_TEXT = "not a string of Unicode characters"
SURROGATE = re.compile("[\ud800-\udfff]")  # half of a UTF-16 pair, which JSON can escape and UTF-8 cannot hold

Skip = Callable[[str, str], None]  # (row or file that is skipped, reason)


@dataclass
class ManifestRow:
    """File as its manifest names it, with its label, captions in order, and the side of the pair that it is."""

    file: str
    label: str | None = None
    texts: list[str] = field(default_factory=list)
    side: Side | None = None


def read_rows(manifest: Path, encoding: str, skip: Skip) -> tuple[list[ManifestRow], str]:
    """Read the rows of a manifest and merge those of one file, or of one file and pair: captions are appended in order.

    Args:
        manifest: CSV, JSONL or JSON file.
        encoding: of the manifest, as in `text_files.read_text`.
        skip: called with each row that is skipped, and the reason.

    Returns:
        `ManifestRow`s in order, and the encoding in words, empty for UTF-8.

    Raises:
        DataError: the manifest cannot be read; the message names the line at fault.
    """
    read = {".csv": _csv, ".json": _coco}.get(manifest.suffix.lower(), _jsonl)
    rows: dict[tuple[str, Side | None], ManifestRow] = {}
    try:
        file, detected = open_text(manifest, encoding)
        with file:
            for row in read(file, manifest, skip):
                first = rows.setdefault((row.file, row.side), row)
                if first is not row:
                    first.label = first.label or row.label
                    first.texts += row.texts
    except DataError:
        raise
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{manifest}: {reason}") from None
    return list(rows.values()), detected.words


def _lines(file: TextIOWrapper, manifest: Path) -> Iterator[str]:
    """Yield lines with their ends; DataError for too long a line, or too many."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise DataError(f"{manifest}, line {number}: more than {MAX_LINE:,} characters")
        if number > MAX_LINES:
            raise DataError(f"{manifest}: more than {MAX_LINES:,} lines; make several folders with a manifest each")
        yield line


def _csv(file: TextIOWrapper, manifest: Path, skip: Skip) -> Iterator[ManifestRow]:
    table = csv.reader(_lines(file, manifest))
    try:
        names = next(table, [])
        if "file" not in names and not {*SIDES} <= {*names}:
            columns = printable(", ".join(names)[:200]) or "none"
            needed = "no column `file`, nor `chosen` and `rejected` of pairs"
            raise DataError(f"{manifest}: {needed}; there are: {columns}")
        # Of columns of one name the last counts. Only COLUMNS are read: there may be many others, and many rows
        places = {name: place for place, name in enumerate(names) if name in COLUMNS}
        for row in table:
            if len(row) > len(names):
                reason = "more values than columns; a text that has commas needs quotes"
                skip(f"{manifest}, line {table.line_num}", reason)
            elif row:
                cells = {name: row[place] if place < len(row) else "" for name, place in places.items()}
                yield from _rows(cells, manifest, table.line_num, skip)
    except csv.Error as error:
        raise DataError(f"{manifest}, line {table.line_num}: {error}") from None


def _jsonl(file: TextIOWrapper, manifest: Path, skip: Skip) -> Iterator[ManifestRow]:
    for number, line in enumerate(_lines(file, manifest), 1):
        if line.strip():
            try:
                row = parse_json(line)
            except JsonError as error:
                raise DataError(f"{manifest}, line {number}: {error}") from None
            if not isinstance(row, dict):
                raise DataError(f"{manifest}, line {number}: not an object such as {ROW}")
            yield from _rows(row, manifest, number, skip)


def _rows(row: dict[str, Any], manifest: Path, number: int, skip: Skip) -> list[ManifestRow]:
    """Parse a line of a manifest: one file, or both sides of a pair; none, and skipped, if it names no file.

    A line with `file` and only one of `chosen` and `rejected` is not a pair: the column means something else there.
    """
    has_chosen, has_rejected = "chosen" in row, "rejected" in row  # no calls: there may be millions of lines
    if not (has_chosen or has_rejected) or ("file" in row and has_chosen != has_rejected):
        parsed = _row(row, row.get("file"), manifest, number, skip)
        return [parsed] if parsed else []
    chosen, rejected = row.get("chosen"), row.get("rejected")
    if not isinstance(chosen, str) or not isinstance(rejected, str) or not chosen or not rejected:
        skip(f"{manifest}, line {number}", "chosen and rejected are not both named")
        return []
    first, second = (_row(row, file, manifest, number, skip) for file in (chosen, rejected))
    if not first or not second:
        return []
    if first.file == second.file:
        skip(f"{manifest}, line {number}", "chosen and rejected are the same file")
        return []
    pair = f"{first.file} > {second.file}"
    first.side, second.side = Side(pair, True), Side(pair, False)
    return [first, second]


def _row(row: dict[str, Any], file: Any, manifest: Path, number: int, skip: Skip) -> ManifestRow | None:
    """Parse a file with its label and captions; None, and skipped, if no file is named or a caption is no text."""
    label = row.get("label")
    captions = row.get("text") or row.get("caption") or row.get("prompt") or []
    texts = captions if isinstance(captions, list) else [captions]
    if not isinstance(file, str) or not file:
        skip(f"{manifest}, line {number}", "no file is named")
    elif not all(map(_is_text, texts)):
        skip(f"{manifest}, line {number}", f"its text is {NO_TEXT}")
    else:
        return ManifestRow(
            _posix(file), None if label in (None, "") else str(label), [text for text in texts if text.strip()]
        )
    return None


def _coco(file: TextIOWrapper, manifest: Path, skip: Skip) -> Iterator[ManifestRow]:
    """Parse COCO-style JSON: captions in order of annotation ids, or in order of the file if some id is no number.

    Annotations of other kinds, such as boxes, are ignored.
    """
    if (size := os.fstat(file.fileno()).st_size) > MAX_JSON_BYTES:
        raise DataError(f"{manifest}: more than {MAX_JSON_BYTES:,} bytes; make several manifests")
    try:  # bytes are decoded at once: reading by characters takes several times the memory
        text = bytes(file.buffer.read(size)).decode(file.encoding, "replace")
        data = parse_json(text, MAX_CONTAINERS, MAX_VALUES)
    except JsonError as error:
        raise DataError(f"{manifest}: {error}") from None
    images, annotations = (data.get(k) if isinstance(data, dict) else None for k in ("images", "annotations"))
    if not isinstance(images, list) or not isinstance(annotations, list):
        raise DataError(f"{manifest}: not COCO-style JSON such as {COCO}")
    if len(images) + len(annotations) > MAX_LINES:
        raise DataError(f"{manifest}: more than {MAX_LINES:,} images and captions; make several manifests")
    rows: dict[str, ManifestRow] = {}
    for number, image in enumerate(images):
        name = image.get("file_name") if isinstance(image, dict) and "id" in image else None
        if not isinstance(name, str) or not name:
            skip(f"{manifest}, images[{number}]", "no id or no file_name")
        elif str(image["id"]) in rows:
            skip(f"{manifest}, images[{number}]", "its id is that of an image before it")
        else:
            rows[str(image["id"])] = ManifestRow(_posix(name))
    captions = [(i, a) for i, a in enumerate(annotations) if isinstance(a, dict) and "caption" in a]
    if all(isinstance(caption.get("id"), int) for _, caption in captions):
        captions.sort(key=lambda pair: pair[1]["id"])
    for number, caption in captions:
        row, text = rows.get(str(caption.get("image_id"))), caption["caption"]
        if row is None:
            skip(f"{manifest}, annotations[{number}]", "a caption of no image: its image_id is not in the list")
        elif not _is_text(text):
            skip(f"{manifest}, annotations[{number}]", f"its caption is {NO_TEXT}")
        elif not text.strip():
            skip(f"{manifest}, annotations[{number}]", "its caption is empty")
        else:
            row.texts.append(text)
    yield from rows.values()


@lru_cache(1000)  # rows of one file mostly follow each other
def _posix(name: str) -> str:
    return Path(name).as_posix()


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and not SURROGATE.search(value)
