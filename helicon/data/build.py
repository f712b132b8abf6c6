"""Build of a cache folder: fit tokenizers, encode all entries to shards, write the index."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helicon.data.cache import PREPARED, is_complete, load_cache
from helicon.data.corpus_writer import CorpusWriter
from helicon.data.encoding import StatisticsJob, encode
from helicon.data.entries import DataError, Entry, FolderScan
from helicon.data.grouping import file_numbers, paired_examples
from helicon.data.prepared import Prepared
from helicon.data.reading import Reader
from helicon.data.source import DataSource, modalities_of, modality_of, slots_of, tokenizer_names_of
from helicon.data.split import record_of, split_scans
from helicon.data.workers import Workers
from helicon.formats.files import write_json
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.formats.temporary import clear_abandoned, remove_temporary, temporary_path
from helicon.formats.validation import join_records, record_state
from helicon.modalities import registry
from helicon.modalities.guarded import extend_tokenizer, fit_tokenizer
from helicon.sequence.layout import Layout
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.sequencer import grids


@dataclass(kw_only=True)
class EncodedLayout:
    """Result of reading and encoding the files of a layout.

    Attributes:
        entries: of each example.
        lost: event -> count, of encoding.
        reader: of the files, with those that could be read.
    """

    entries: list[Entry]
    lost: dict[str, int]
    reader: Reader


def build(
    source: DataSource, layouts: Sequence[Layout], scans: Sequence[FolderScan], pretrained: Mapping[str, Tokenizer],
    folder: Path, workers: Workers,
) -> Prepared:  # fmt: skip
    """Fit the tokenizers of a source, encode its files, and write both to a cache folder at once.

    Args:
        source: `DataSource`, files and options.
        layouts: `Layout`s of the source, parsed.
        scans: a `FolderScan` of the files of each layout, split; split again if no file of a part can be read.
        pretrained: slot -> tokenizer that is used instead of fitting one.
        folder: cache to write; if another process completes it meanwhile, that one is kept.
        workers: `Workers`, processes that read and encode.

    Returns:
        A `Prepared` (tokenizers, corpora, report), as `load_cache` returns it.

    Raises:
        DataError: no file of some layout can be read.
        OSError: the cache cannot be written.
    """
    readers = [
        Reader(scanned.entries, modalities_of(layout, source.examples), {**source.options, **scanned.options}, workers)
        for layout, scanned in zip(layouts, scans)
    ]
    surveys: dict[str, list[Any]] = {}
    if asked := modalities_to_survey(source, pretrained):
        for reader in readers:
            for _, surveys_of_entry in survey(reader, asked):
                add_surveys(surveys, surveys_of_entry)
        check_read(source, layouts, readers)
        if again := split_again(source, layouts, scans, [reader.good for reader in readers]):
            return build(source, layouts, again, pretrained, folder, workers)
    tokenizers = fit(source, surveys, pretrained)
    filled = [layout.filled(grids(tokenizers)) for layout in layouts]
    with replacing(folder, tokenizers) as building:
        encoded = [
            encode_layout(building / str(i), layout, reader, tokenizers, source)
            for i, (layout, reader) in enumerate(zip(filled, readers))
        ]
        check_read(source, layouts, readers)
        if again := split_again(source, layouts, scans, [part.entries for part in encoded]):
            return build(source, layouts, again, pretrained, folder, workers)
        write_index(building, source, scans, tokenizers, encoded)
    return load_cache(folder, tokenizers)


@contextmanager
def replacing(folder: Path, tokenizers: Mapping[str, Tokenizer]) -> Iterator[Path]:
    """Provide the path of a temporary folder for a cache; it becomes the cache once it has an index.

    If another process completes the cache meanwhile, that one is kept.

    Args:
        folder: of the cache.
        tokenizers: slot -> tokenizer of the cache.

    Yields:
        Path beside it.

    Raises:
        OSError: the cache cannot be written; it names the cache.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    clear_abandoned(folder.parent)
    building = temporary_path(folder)
    try:
        yield building
        if not (building / PREPARED).exists() or is_complete(folder, tokenizers):
            return
        shutil.rmtree(folder, ignore_errors=True)
        try:
            os.replace(building, folder)
        except OSError:
            if not is_complete(folder, tokenizers):
                raise
    except OSError as error:
        # The temporary folder is removed: name the final one
        if not Path(error.filename or "").is_relative_to(building):
            raise
        raise OSError(error.errno, error.strerror, os.fspath(folder)) from error
    finally:
        remove_temporary(building)


def write_index(
    folder: Path, source: DataSource, scans: Sequence[FolderScan], tokenizers: Mapping[str, Tokenizer],
    encoded: Sequence[EncodedLayout],
) -> None:  # fmt: skip
    """Write the index of a cache, which completes it.

    Args:
        folder: of the cache, with the corpora.
        source: `DataSource`.
        scans: a `FolderScan` of each layout.
        tokenizers: slot -> tokenizer.
        encoded: an `EncodedLayout` of each layout.
    """
    readers = [part.reader for part in encoded]
    skipped = {name: reason for part in [*scans, *readers] for name, reason in part.skipped.items()}
    repaired: dict[str, int] = {}
    for count in [*(part.lost for part in encoded), *(reader.repaired for reader in readers)]:
        for what, n in count.items():
            repaired[what] = repaired.get(what, 0) + n
    index = {
        "corpora": len(encoded), "choices": tokenizer_names_of(source),
        "files": sum(len(reader.good) for reader in readers), "skipped": skipped, "repaired": repaired,
        "validation": record_state(join_records(*(record_of(source, part.entries) for part in encoded))),
        "states": {slot: tokenizer.state() for slot, tokenizer in tokenizers.items()},
    }  # fmt: skip
    write_json(folder / PREPARED, index)


def survey(reader: Reader, modalities: Collection[str]) -> Iterator[tuple[Entry, dict[str, list[Any]]]]:
    """Read files for fitting.

    Args:
        reader: `Reader` of the entries of a layout.
        modalities: names of those to which something is fitted.

    Returns:
        Iterator of (`Entry`, modality -> surveys), without surveys of the validation part.
    """
    return reader.read("reading", StatisticsJob([m.name for m in reader.modalities if m.name in modalities]))


def add_surveys(surveys: dict[str, list[Any]], more: Mapping[str, list[Any]]) -> None:
    """Add surveys to others in place.

    Args:
        surveys: modality -> list of surveys.
        more: modality -> list of surveys to append.
    """
    for name, several in more.items():
        surveys.setdefault(name, []).extend(several)


def modalities_to_survey(source: DataSource, pretrained: Mapping[str, Tokenizer]) -> set[str]:
    """Find the modalities whose surveys some tokenizer is fitted to or grows by.

    Args:
        source: `DataSource`.
        pretrained: slot -> tokenizer that is used instead of fitting one.

    Returns:
        Their names.
    """
    layouts = [Layout.parse(spec) for spec in source.layouts]
    modalities = set()
    for slot, name in tokenizer_names_of(source).items():
        spec = registry.spec(slot, name)
        if (source.grow and spec.extend_vocabulary) if slot in pretrained else spec.needs_fit:
            modalities.add(modality_of(slot, layouts).name)
    return modalities


def check_read(source: DataSource, layouts: Sequence[Layout], readers: Sequence[Reader]) -> None:
    """Check that some entry of each layout could be read.

    Args:
        source: `DataSource`.
        layouts: `Layout`s of the source.
        readers: `Reader` of each.

    Raises:
        DataError: of some layout, none could.
    """
    for layout, reader in zip(layouts, readers):
        if not reader.good:
            file, reason = next(iter(reader.skipped.items()))
            raise DataError(
                f"{source.path}: none of {len(reader.entries)} files for `{layout}` can be used; "
                f"{printable(file, MAX_QUOTED)}: {reason}"
            )


def split_again(
    source: DataSource, layouts: Sequence[Layout], scans: Sequence[FolderScan], kept: Sequence[Sequence[Entry]]
) -> list[FolderScan] | None:
    """Split again where the training or the validation part has lost all of its entries.

    Args:
        source: `DataSource`.
        layouts: `Layout`s of the source.
        scans: a `FolderScan` of each layout, split.
        kept: entries of each layout that can be used.

    Returns:
        The scans, split without the entries that are not kept; None where that is not needed.
    """
    if all(not entries or _parts(scanned.entries) == _parts(entries) for scanned, entries in zip(scans, kept)):
        return None
    readable = {(entry.origin, entry.name) for entries in kept for entry in entries}
    bad = {(entry.origin, entry.name) for scanned in scans for entry in scanned.entries} - readable
    return split_scans(source, layouts, scans, bad)


def _parts(entries: Sequence[Entry]) -> tuple[bool, bool]:
    """Return whether there are entries in the training and in the validation part."""
    starts = {entry.val_start for entry in entries}
    return bool(starts - {0}), bool(starts - {None})


def fit(
    source: DataSource, surveys: Mapping[str, list[Any]], pretrained: Mapping[str, Tokenizer]
) -> dict[str, Tokenizer]:
    """Fit the tokenizers of a source, and grow pretrained ones.

    Args:
        source: `DataSource`.
        surveys: modality -> surveys of the training part.
        pretrained: slot -> tokenizer that is used instead of fitting one.

    Returns:
        Slot -> tokenizer.
    """
    tokenizers: dict[str, Tokenizer] = {}
    layouts = [Layout.parse(spec) for spec in source.layouts]
    for slot, name in tokenizer_names_of(source).items():
        modality = modality_of(slot, layouts)
        statistics = surveys.get(modality.name, [])
        if slot in pretrained:
            tokenizers[slot] = (
                extend_tokenizer(slot, name, pretrained[slot], statistics) if source.grow else pretrained[slot]
            )
        else:
            siblings = {s: source.tokenizers.get(s) or next(iter(modality.slots[s])) for s in modality.slots}
            tokenizers[slot] = fit_tokenizer(slot, name, statistics, {"siblings": siblings, **source.options})
    return tokenizers


def encode_layout(
    folder: Path, layout: Layout, reader: Reader, tokenizers: Mapping[str, Tokenizer], source: DataSource
) -> EncodedLayout:  # fmt: skip
    """Write the corpus of a layout.

    Args:
        folder: of the corpus.
        layout: `Layout` of the examples, filled.
        reader: `Reader` of the entries.
        tokenizers: slot -> tokenizer.
        source: `DataSource` with the kind of examples.

    Returns:
        An `EncodedLayout`.
    """
    modalities = {slot: modality_of(slot, [layout]).name for slot in slots_of(layout, source.examples)}
    entries: list[Entry] = []
    lost: Counter[str] = Counter()
    with corpus_writer(folder, layout, tokenizers, source) as writer:
        for entry, piece in encode(reader, layout, modalities, tokenizers, tokenizer_names_of(source)):
            for coded in (coded for several in piece.ids.values() for coded in several):
                lost.update(coded.lost)
            if any(len(coded.ids) for coded in piece.ids[layout.target.name]):
                ids = {slot: [coded.ids for coded in several] for slot, several in piece.ids.items()}
                writer.append(piece.name, entry.label, piece.val, ids)
                entries.append(entry)
            else:
                lost["pieces without anything in them"] += 1
        finish(writer, source, entries)
    return EncodedLayout(entries=entries, lost=lost, reader=reader)


def corpus_writer(
    folder: Path, layout: Layout, tokenizers: Mapping[str, Tokenizer], source: DataSource
) -> CorpusWriter:  # fmt: skip
    """Make the writer of a layout's corpus.

    Args:
        folder: of the corpus.
        layout: `Layout` of the examples, filled.
        tokenizers: slot -> tokenizer.
        source: `DataSource` with the kind of examples.

    Returns:
        The `CorpusWriter`.
    """
    sizes = {slot: len(tokenizers[slot].block) for slot in slots_of(layout, source.examples)}
    return CorpusWriter(folder, str(layout), sizes)


def finish(writer: CorpusWriter, source: DataSource, entries: Sequence[Entry]) -> None:
    """Complete a corpus.

    Args:
        writer: `CorpusWriter` to which the examples were appended.
        source: `DataSource` of the entries.
        entries: `Entry` of each example; documents of one file have the same object.
    """
    origins = [entry.origin for entry in entries] if source.origins else []
    writer.finish(file_numbers(entries), paired_examples(entries), origins)
