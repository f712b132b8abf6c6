"""Encoding of the training part of shards to a corpus, with what was read and lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import sleep

from helicon.data.build import encode_layout
from helicon.data.captions import with_caption_files
from helicon.data.entries import DataError, Entry, FolderScan
from helicon.data.files import scan_shard
from helicon.data.reading import Reader
from helicon.data.source import DataSource, modalities_of
from helicon.data.split import hash_fraction, pieces_of
from helicon.data.streaming.shards import Shard, Unit
from helicon.data.workers import Workers
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.formats.validation import ValidationRecord, name_hash
from helicon.sequence.layout import Layout
from helicon.tokenizers.base import Tokenizer

PAUSES_S = (1.0, 4.0, 16.0)  # seconds before each further try to open a shard: a server may be starting anew


class StreamError(DataError):
    """Source that cannot be read any more; the training can be resumed when it can."""


@dataclass
class Encoded:
    """Counts of what was read of shards.

    Attributes:
        files: number of files read.
        skipped: file -> reason.
        damaged: shard -> reason.
        lost: event -> count.
    """

    files: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, kw_only=True)
class UnitEncoder:
    """Encoder of the training part of units.

    Attributes:
        source: `DataSource` of the stream.
        layouts: `Layout`s, filled.
        tokenizers: slot -> tokenizer.
    """

    source: DataSource
    layouts: Sequence[Layout]
    tokenizers: Mapping[str, Tokenizer]

    def __call__(
        self, unit: Unit, index: int, folder: Path, workers: Workers, pause: Callable[[float], object]
    ) -> Encoded:
        """Write the corpus of a unit.

        Args:
            unit: shards.
            index: number of the layout.
            folder: of the corpus, which has no examples where nothing can be read.
            workers: processes that read and encode.
            pause: waits for seconds before another try.

        Returns:
            Counts of what was read.

        Raises:
            StreamError: a shard cannot be opened.
        """
        layout = self.layouts[index]
        with ExitStack() as files:
            (scanned,) = scan_shards(self.source, [layout], unit.shards, files, pause)
            entries = [entry for entry in scanned.entries if entry.val_start != 0]
            modalities = modalities_of(layout, self.source.examples)
            reader = Reader(entries, modalities, self.source.options, workers)
            lost = encode_layout(folder, layout, reader, self.tokenizers, self.source).lost
        names = {shard.name for shard in unit.shards}
        damaged = {name: reason for name, reason in scanned.skipped.items() if name in names}
        skipped = {name: reason for name, reason in {**scanned.skipped, **reader.skipped}.items() if name not in names}
        return Encoded(len(reader.good), skipped, damaged, Counter(lost) + Counter(reader.repaired))


def scan_shards(
    source: DataSource, layouts: Sequence[Layout], shards: Iterable[Shard], files: ExitStack,
    pause: Callable[[float], object] = sleep,
) -> list[FolderScan]:  # fmt: skip
    """List the entries of shards, with those of the validation part marked.

    Args:
        source: `DataSource` with the share and the record of the validation part.
        layouts: `Layout`s, for each of which entries are listed.
        shards: `Shard`s.
        files: keeps the shards on this disk until it is closed.
        pause: waits for seconds before another try.

    Returns:
        A `FolderScan` of each layout, in which files are named by the name of their shard.

    Raises:
        StreamError: a shard cannot be opened.
    """
    scans = [FolderScan(entries=[]) for _ in layouts]
    for shard in shards:
        path = _opened(shard, files, pause)
        for layout, result in zip(layouts, scans):
            scanned = FolderScan(entries=[])
            in_files = [modality for modality in modalities_of(layout, source.examples) if modality.in_files]
            scan_shard(path, Path(shard.name), with_caption_files(in_files), scanned)
            for name, reason in scanned.skipped.items():
                result.skip(shard.name + name.removeprefix(printable(path)), reason)
            result.entries += scanned.entries
            result.passed += scanned.passed
    return [replace(result, entries=_marked(result.entries, source)) for result in scans]


def _opened(shard: Shard, files: ExitStack, pause: Callable[[float], object]) -> Path:
    for seconds in (*PAUSES_S, None):
        try:
            return files.enter_context(shard.local())
        except OSError as error:
            if seconds is None:
                reason = printable(error.strerror or error, MAX_QUOTED)
                raise StreamError(
                    f"shard {printable(shard.name, MAX_QUOTED)}: {reason}, {len(PAUSES_S) + 1} times; the training can "
                    "be resumed when it is there"
                ) from error
            pause(seconds)
    raise AssertionError("the last try returns or raises")


def _marked(entries: Sequence[Entry], source: DataSource) -> list[Entry]:
    """Mark the pieces whose hash is below the share, and those of the record."""
    share, record = source.val_split or 0.0, source.record
    marked = []
    for entry, piece in zip(entries, pieces_of(entries)):
        start = 0 if hash_fraction(piece) < share else record.get(name_hash(piece))
        marked.append(replace(entry, val_start=start))
    return marked


def earlier_record(source: DataSource) -> ValidationRecord:
    """Return the part of a source's record that its share does not hold out anyway."""
    share = source.val_split or 0.0
    # A name's hash begins with the digits of its fraction
    return {key: start for key, start in source.record.items() if start or (key >> 8) / 2**56 >= share}
