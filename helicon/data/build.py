"""Build of a cache folder: fit tokenizers, encode all entries to shards, write the index."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from helicon.data.cache import PREPARED, load_cache
from helicon.data.corpus import CorpusError
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
        Reader(scanned.entries, modalities_of(layout, source.examples), source.options, workers)
        for layout, scanned in zip(layouts, scans)
    ]
    surveys: dict[str, list[Any]] = {}
    if asked := _modalities_to_survey(source, pretrained):
        for reader in readers:
            job = StatisticsJob([modality.name for modality in reader.modalities if modality.name in asked])
            for _, surveys_of_entry in reader.read("reading", job):
                for name, several in surveys_of_entry.items():
                    surveys.setdefault(name, []).extend(several)
        _check_read(source, layouts, readers)
        if again := _split_again(source, layouts, scans, [reader.good for reader in readers]):
            return build(source, layouts, again, pretrained, folder, workers)
    tokenizers, tokenizer_names = _fit(source, surveys, pretrained)
    filled = [layout.filled(grids(tokenizers)) for layout in layouts]
    folder.parent.mkdir(parents=True, exist_ok=True)
    clear_abandoned(folder.parent)
    building = temporary_path(folder)
    try:
        encoded = [
            encode_layout(building / str(i), layout, reader, tokenizers, tokenizer_names, source)
            for i, (layout, reader) in enumerate(zip(filled, readers))
        ]
        _check_read(source, layouts, readers)
        if again := _split_again(source, layouts, scans, [entries for entries, _ in encoded]):
            return build(source, layouts, again, pretrained, folder, workers)
        skipped = {name: reason for part in [*scans, *readers] for name, reason in part.skipped.items()}
        repaired: dict[str, int] = {}
        for count in [*(lost for _, lost in encoded), *(reader.repaired for reader in readers)]:
            for what, n in count.items():
                repaired[what] = repaired.get(what, 0) + n
        index = {
            "corpora": len(layouts), "choices": tokenizer_names, "files": sum(len(reader.good) for reader in readers),
            "skipped": skipped, "repaired": repaired,
            "validation": record_state(join_records(*(record_of(source, entries) for entries, _ in encoded))),
            "states": {slot: tokenizer.state() for slot, tokenizer in tokenizers.items()},
        }  # fmt: skip
        write_json(building / PREPARED, index)
        with suppress(CorpusError):  # another process has built the same cache meanwhile
            return load_cache(folder, tokenizers)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            os.replace(building, folder)
        except OSError:
            with suppress(CorpusError):
                return load_cache(folder, tokenizers)
            raise
    except OSError as error:
        # The temporary folder is removed: name the final one
        if not Path(error.filename or "").is_relative_to(building):
            raise
        raise OSError(error.errno, error.strerror, os.fspath(folder)) from error
    finally:
        remove_temporary(building)
    return load_cache(folder, tokenizers)


def _modalities_to_survey(source: DataSource, pretrained: Mapping[str, Tokenizer]) -> set[str]:
    """Return the modalities whose surveys some tokenizer is fitted to or grows by."""
    layouts = [Layout.parse(spec) for spec in source.layouts]
    modalities = set()
    for slot, name in tokenizer_names_of(source).items():
        spec = registry.spec(slot, name)
        if (source.grow and spec.extend_vocabulary) if slot in pretrained else spec.needs_fit:
            modalities.add(modality_of(slot, layouts).name)
    return modalities


def _check_read(source: DataSource, layouts: Sequence[Layout], readers: Sequence[Reader]) -> None:
    """Raise DataError if no entry of some layout could be read."""
    for layout, reader in zip(layouts, readers):
        if not reader.good:
            file, reason = next(iter(reader.skipped.items()))
            raise DataError(
                f"{source.path}: none of {len(reader.entries)} files for `{layout}` can be used; "
                f"{printable(file, MAX_QUOTED)}: {reason}"
            )


def _split_again(
    source: DataSource, layouts: Sequence[Layout], scans: Sequence[FolderScan], kept: Sequence[Sequence[Entry]]
) -> list[FolderScan] | None:
    """Return the scans split without the entries that are not kept, where a part has lost all of its entries."""
    if all(not entries or _parts(scanned.entries) == _parts(entries) for scanned, entries in zip(scans, kept)):
        return None
    readable = {(entry.origin, entry.name) for entries in kept for entry in entries}
    bad = {(entry.origin, entry.name) for scanned in scans for entry in scanned.entries} - readable
    return split_scans(source, layouts, scans, bad)


def _parts(entries: Sequence[Entry]) -> tuple[bool, bool]:
    """Return whether there are entries in the training and in the validation part."""
    starts = {entry.val_start for entry in entries}
    return bool(starts - {0}), bool(starts - {None})


def _fit(
    source: DataSource, surveys: Mapping[str, list[Any]], pretrained: Mapping[str, Tokenizer]
) -> tuple[dict[str, Tokenizer], dict[str, str]]:
    """Return slot -> tokenizer, pretrained and grown or fitted to the surveys of its medium, and slot -> name."""
    tokenizers: dict[str, Tokenizer] = {}
    tokenizer_names = tokenizer_names_of(source)
    layouts = [Layout.parse(spec) for spec in source.layouts]
    for slot in tokenizer_names:
        modality = modality_of(slot, layouts)
        name, statistics = tokenizer_names[slot], surveys.get(modality.name, [])
        if slot in pretrained:
            tokenizers[slot] = (
                extend_tokenizer(slot, name, pretrained[slot], statistics) if source.grow else pretrained[slot]
            )
        else:
            siblings = {s: source.tokenizers.get(s) or next(iter(modality.slots[s])) for s in modality.slots}
            tokenizers[slot] = fit_tokenizer(slot, name, statistics, {"siblings": siblings, **source.options})
    return tokenizers, tokenizer_names


def encode_layout(
    folder: Path, layout: Layout, reader: Reader, tokenizers: Mapping[str, Tokenizer],
    tokenizer_names: Mapping[str, str], source: DataSource,
) -> tuple[list[Entry], dict[str, int]]:  # fmt: skip
    """Write the corpus of a layout.

    Args:
        folder: of the corpus.
        layout: `Layout` of the examples, filled.
        reader: `Reader` of the entries.
        tokenizers: slot -> tokenizer.
        tokenizer_names: slot -> name of its tokenizer in the registry.
        source: `DataSource` with the kind of examples.

    Returns:
        (entry of each example, event -> count of what encoding lost).
    """
    slots = slots_of(layout, source.examples)
    sizes = {slot: len(tokenizers[slot].block) for slot in slots}
    modalities = {slot: modality_of(slot, [layout]).name for slot in slots}
    entries: list[Entry] = []
    lost: Counter[str] = Counter()
    with CorpusWriter(folder, str(layout), sizes) as writer:
        for entry, piece in encode(reader, layout, modalities, tokenizers, tokenizer_names):
            for coded in (coded for several in piece.ids.values() for coded in several):
                lost.update(coded.lost)
            if any(len(coded.ids) for coded in piece.ids[layout.target.name]):
                ids = {slot: [coded.ids for coded in several] for slot, several in piece.ids.items()}
                writer.append(piece.name, entry.label, piece.val, ids)
                entries.append(entry)
            else:
                lost["pieces without anything in them"] += 1
        origins = [entry.origin for entry in entries] if source.origins else []
        writer.finish(file_numbers(entries), paired_examples(entries), origins)
    return entries, lost
