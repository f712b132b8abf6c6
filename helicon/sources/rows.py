"""Rows of a dataset of Hugging Face's `datasets`, read as a stream, as tar shards in the cache.

The shards that are complete are on record, so that a reading that broke off goes on behind them.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from helicon.formats.files import write_json
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.formats.progress import bar
from helicon.formats.quantities import quantity
from helicon.sources import download
from helicon.sources.places import MAX_FILES, SourceError
from helicon.sources.record import FILES, Log, Record
from helicon.sources.remote import Broken, Gone, explaining
from helicon.sources.row_columns import RowColumns
from helicon.sources.shard_writer import Sample, write_shard

FORM = "hf:USER/DATASET, hf:USER/DATASET/CONFIG:SPLIT, or hf:USER/DATASET:train[:1000]"
BEGUN = "rows.json"  # record of the shards so far, in the folder of a place
_PLACE = re.compile(r"hf:(?P<path>[^:\[\]]+)(:(?P<split>[\w.-]+)(\[:(?P<most>\d{1,12})\])?)?")


class RowsPlace(NamedTuple):
    """Parsed place: path of a dataset on the hub, or of a folder; configuration, split, number of rows at most."""

    path: str
    config: str | None
    split: str | None
    most: int | None

    @property
    def is_local(self) -> bool:
        """True if the rows are those of files in a folder of this machine."""
        return Path(self.path).exists()


def parse_rows(place: str) -> RowsPlace:
    """Parse a place `hf:USER/DATASET[/CONFIG][:SPLIT[[:ROWS]]]`; SourceError for another one."""
    match = _PLACE.fullmatch(place)
    if match is None:
        raise SourceError(f"{printable(place, MAX_QUOTED)}: {FORM} is accepted")
    path, config, most = match["path"].rstrip("/"), None, match["most"]
    if not path.startswith((".", "/")):  # else a folder of this machine
        parts = path.split("/")
        if len(parts) not in (2, 3) or not all(re.fullmatch(r"\w[\w.-]*", part) for part in parts):
            raise SourceError(f"{printable(place, MAX_QUOTED)}: {FORM} is accepted")
        path, config = "/".join(parts[:2]), parts[2] if len(parts) == 3 else None
    return RowsPlace(path, config, match["split"], int(most) if most else None)


def identity(place: str) -> str:
    """Return what the cache of a place depends on: of files in a folder, their sizes and times, too."""
    parsed = parse_rows(place)
    if not parsed.is_local:
        return place
    root = Path(parsed.path).resolve()
    files = sorted(path for path in islice(root.rglob("*"), MAX_FILES) if path.is_file())
    stamps = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    return json.dumps(["hf", str(root), *parsed[1:], stamps])


@dataclass(kw_only=True)
class RowsBegun:
    """Record of a reading that goes on: rows read, samples written, size in bytes of each shard, rows passed over."""

    rows: int = 0
    samples: int = 0
    files: dict[str, int] = field(default_factory=dict)
    passed: dict[str, int] = field(default_factory=dict)


def bring_rows(place: str, folder: Path, log: Log) -> Record:
    """Read all rows of a place that are not there yet, and write them as shards.

    Args:
        place: as in `parse_rows`.
        folder: path of the place's folder in the cache.
        log: called with each message.

    Returns:
        The `Record`.

    Raises:
        SourceError: no such dataset, split or columns, or the reading broke off; what has come is kept.
        OSError: the disk is full or cannot be written.
    """
    parsed, begun = parse_rows(place), _begun(folder)
    rows, total = open_rows(place, parsed)
    if begun.rows:
        log(f"source     {place}: {quantity(begun.rows, 'row')} are there")
    passed = Counter(begun.passed)
    with bar(of="reading", unit="rows", total=total) as shown_bar:
        shown_bar.update(begun.rows)
        reading = _Reading(place, parsed, rows, begun.rows, passed, shown_bar, log)
        samples = reading.samples()
        while True:
            name = f"rows-{len(begun.files):06d}.tar"
            count, size = write_shard(folder / FILES / name, samples, begun.samples)
            if not count:
                break
            begun = RowsBegun(
                rows=reading.done, samples=begun.samples + count, files={**begun.files, name: size},
                passed=dict(passed),
            )  # fmt: skip
            write_json(folder / BEGUN, asdict(begun))
    if not begun.files:
        raise SourceError(f"{place}: none of {quantity(reading.done, 'row')} can be used: {dict(passed)}")
    (folder / BEGUN).unlink()
    return Record(place=place, files=begun.files, passed=dict(passed))


def _begun(folder: Path) -> RowsBegun:
    """Return the record of a reading that broke off; that of none where a shard is missing."""
    with suppress(OSError, ValueError, TypeError, AttributeError):
        begun = RowsBegun(**json.loads((folder / BEGUN).read_text("utf-8")))
        if all((folder / FILES / name).stat().st_size == size for name, size in begun.files.items()):
            return begun
    return RowsBegun()


def open_rows(place: str, parsed: RowsPlace) -> tuple[Any, int | None]:
    """Open a split as a stream of rows whose pictures and sounds are not decoded.

    Args:
        place: for messages.
        parsed: the same, as a `RowsPlace`.

    Returns:
        `datasets.IterableDataset`, and the number of its rows, None if it is not known.

    Raises:
        SourceError: `datasets` is not installed; or there is no such dataset, configuration or split.
    """
    try:
        import datasets
    except ImportError:
        raise SourceError(f'{place}: needs another package: pip install "helicon-gpt[hf]"') from None
    try:
        splits = datasets.load_dataset(parsed.path, parsed.config, streaming=True)
    except Exception as error:  # of the hub, of HTTP, of readers of files
        reason = printable(" ".join(str(error).split()) or type(error).__name__, MAX_QUOTED)
        raise SourceError(f"{place}: {reason}") from None
    names = [str(name) for name in splits]
    split = parsed.split or ("train" if "train" in names else names[0] if len(names) == 1 else "")
    if split not in names:
        asked = f"no split {split!r}" if split else "several splits"
        raise SourceError(f"{place}: {asked}; there are {', '.join(names)}")
    rows: Any = splits[split]
    for name, kind in (rows.features or {}).items():
        if isinstance(kind, datasets.Image | datasets.Audio):
            rows = rows.cast_column(name, type(kind)(decode=False))
    sizes = rows.info.splits or {}
    total = sizes[split].num_examples if split in sizes else None
    if parsed.most is not None:
        rows, total = rows.take(parsed.most), min(parsed.most, total or parsed.most)
    return rows, total


class _Reading:
    """Reading of rows that goes on after a break, as long as it gets further.

    Attributes:
        done: rows read, those of earlier starts included.
    """

    def __init__(
        self, place: str, parsed: RowsPlace, rows: Any, done: int, passed: Counter[str], shown_bar: tqdm, log: Log
    ) -> None:
        self.place, self.rows, self.done, self.passed, self.bar, self.log = place, rows, done, passed, shown_bar, log
        self.folder = Path(parsed.path).resolve() if parsed.is_local else None
        self.columns: RowColumns | None = None

    def samples(self) -> Iterator[Sample]:
        """Yield the rows' samples; rows without media are counted.

        Raises:
            SourceError: no column has media, or the reading broke off again and again.
        """
        for row in self._rows():
            if self.columns is None:
                self.columns = RowColumns.of(self.place, row, self.rows.features or {})
                self.log(f"columns    {self.columns}")
            try:
                sample = self.columns.sample(row, self.folder)
            except (Gone, Broken) as reason:  # a file that a row names
                self.passed[f"rows: {reason}"] += 1
                continue
            yield sample

    def _rows(self) -> Iterator[Any]:
        waits, reached = iter(download.WAITS_S), self.done
        while True:
            try:
                with explaining():
                    rows = iter(self.rows.skip(self.done) if self.done else self.rows)
                while True:
                    with explaining():
                        row = next(rows, None)
                    if row is None:
                        return
                    self.done += 1
                    self.bar.update(1)
                    yield row
            except (Gone, Broken) as reason:
                if self.done > reached:
                    waits, reached = iter(download.WAITS_S), self.done
                wait = next(waits, None) if isinstance(reason, Broken) else None
                if wait is None:
                    again = "the same command goes on from the last complete shard"
                    raise SourceError(f"{self.place}: broke off after {self.done:,} rows: {reason}; {again}") from None
                time.sleep(wait)
