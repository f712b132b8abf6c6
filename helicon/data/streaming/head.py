"""Beginning of a stream: its first shards, to which tokenizers are fitted, and which have the validation part."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from helicon.data.build import build
from helicon.data.cache import holds, key_of, load_cache
from helicon.data.children import safe_path
from helicon.data.corpus import CorpusError
from helicon.data.entries import DataError, Entry, FolderScan
from helicon.data.labelled import without_style
from helicon.data.passed import passed_over
from helicon.data.prepared import Prepared
from helicon.data.reading import bytes_of
from helicon.data.source import DataSource, modalities_of
from helicon.data.split import hash_fraction, pieces_of, record_of
from helicon.data.streaming.encode import earlier_record, scan_shards
from helicon.data.streaming.shards import Shard, find_shards
from helicon.data.workers import Workers
from helicon.formats.files import default_cache, read_regular, write_json
from helicon.formats.quantities import quantity
from helicon.formats.validation import join_records
from helicon.sequence.layout import Layout
from helicon.tokenizers.base import Tokenizer

# Bytes of the first shards that are looked through, and of their files that tokenizers are fitted to, and that are the
# validation part, at most
SHARD_BYTES, FITTED_BYTES, VAL_BYTES = 1 << 30, 64 << 20, 64 << 20
HEAD = "stream.json"  # beside prepared.json: facts on the beginning of the stream
MAX_HEAD_BYTES = 1 << 24


def prepare_stream(
    source: DataSource, pretrained: Mapping[str, Tokenizer] | None = None,
    log: Callable[[str], None] = lambda line: None, kept: Mapping[str, Tokenizer] | None = None,
    processes: int | None = None,
) -> Prepared:  # fmt: skip
    """Fit the tokenizers of a stream and encode its validation part, by its first shards, or load both from the cache.

    Args:
        source: `DataSource` whose path is a folder of shards.
        pretrained: slot -> tokenizer to use instead of fitting one, with the labels of the first shards added if
            `source.grow`.
        log: called with each progress message.
        kept: slot -> tokenizer of an earlier call for the same source; used unchanged even if the folder has changed.
        processes: number of processes that read and encode where there is much to do; all cores unless given.

    Returns:
        A `Prepared`: its corpora have the validation part, and the beginning of the training part.

    Raises:
        DataError: no shards, or nothing in them can be read.
    """
    layouts = [Layout.parse(spec) for spec in source.layouts]
    shards, notes = find_shards(source.path, source.cache)
    pretrained = dict(pretrained or {})
    folder = stream_folder(source, shards, pretrained)
    if kept is not None and not holds(folder, kept):
        source, pretrained = replace(source, grow=False), dict(kept)
        folder = stream_folder(source, shards, pretrained)
    try:
        prepared, head = load_cache(folder, pretrained), _read_head(folder)
        log(f"cache      {folder}")
    except CorpusError as fault:
        if folder.exists():
            log(f"cache      {fault}: built again")
        with ExitStack() as files, safe_path(), Workers(processes) as workers:
            scans, head = _scan_head(source, layouts, shards, files)
            # Pieces that are not in the record are for training, in the other shards as in these
            record = join_records(*(record_of(source, scanned.entries) for scanned in scans))
            part = replace(source, val_split=None, record=record)
            prepared = build(part, layouts, scans, pretrained, folder, workers)
        write_json(folder / HEAD, head)
    labels = [corpus.labels for corpus in prepared.corpora]
    missing = without_style(layouts, labels) if source.labels is None else None
    notes = [*notes, *head["notes"], *([f"labels     {missing}"] if missing else [])]
    return replace(
        prepared, notes=notes, passed=head["passed"], scale=head["scale"],
        record=join_records(source.record, prepared.record),
    )  # fmt: skip


def stream_folder(source: DataSource, shards: Sequence[Shard], pretrained: Mapping[str, Tokenizer]) -> Path:
    """Return the path of the cache folder of a stream.

    Args:
        source: `DataSource`, files and options.
        shards: all `Shard`s.
        pretrained: slot -> tokenizer that is used instead of fitting one.

    Returns:
        Path `stream-KEY`, whose key is a hash of all that its contents depend on.
    """
    stamps = [[shard.name, shard.stamp] for shard in shards]
    key = key_of(source, [stamps, source.val_split, sorted(earlier_record(source).items())], pretrained)
    return (source.cache or default_cache()) / f"stream-{key}"


def _scan_head(
    source: DataSource, layouts: Sequence[Layout], shards: Sequence[Shard], files: ExitStack
) -> tuple[list[FolderScan], dict[str, Any]]:
    """Return a scan of each layout, marked, and facts for HEAD. files: keeps the shards on this disk."""
    first, size = [], 0
    for shard in shards:
        if first and size + shard.size > SHARD_BYTES:
            break
        first.append(shard)
        size += shard.size
    scans, scales, notes = [], [], []
    for layout, scanned in zip(layouts, scan_shards(source, layouts, first, files)):
        if not scanned.entries:
            suffixes = "; ".join(
                f"{m.name}: {' '.join(sorted(m.suffixes))}" for m in modalities_of(layout) if m.in_files
            )
            reasons = "; ".join([f"{name}: {reason}" for name, reason in scanned.skipped.items()][:1])
            seen = "; ".join(filter(None, [reasons, passed_over(scanned.passed)]))
            where = f"{source.path}: no files for `{layout}` in the first {quantity(len(first), 'shard')}"
            raise DataError(f"{where}; accepted suffixes are {suffixes}{'; ' if seen else ''}{seen}")
        fitted, val, train_bytes = _parts(scanned.entries)
        scales.append(train_bytes / max(1, sum(map(bytes_of, fitted))))
        scans.append(replace(scanned, entries=sorted([*fitted, *val], key=lambda entry: entry.name)))
        notes.append(
            f"stream     tokenizers and {len(val):,} validation pieces of `{layout}` from {len(first):,} of "
            f"{len(shards):,} shards: {_megabytes(fitted)} and {_megabytes(val)} MB of files"
        )
    total = sum(shard.size for shard in shards)
    notes += dict.fromkeys(note for scanned in scans for note in scanned.notes)
    passed = dict(scans[0].passed)
    return scans, {"scale": max(scales) * total / max(1, size), "notes": notes, "passed": passed}


def _parts(entries: Sequence[Entry]) -> tuple[list[Entry], list[Entry], int]:
    """Choose entries of both parts by the hash of their names, and sum the bytes of all training entries."""
    train, val, sums, total = [], [], {True: 0, False: 0}, 0
    ordered = sorted(zip(map(hash_fraction, pieces_of(entries)), range(len(entries))))
    for _, i in ordered:
        entry, held = entries[i], entries[i].val_start == 0
        size = bytes_of(entry)
        total += 0 if held else size
        part, most = (val, VAL_BYTES) if held else (train, FITTED_BYTES)
        if not part or sums[held] + size <= most:
            part.append(entry)
            sums[held] += size
    return train, val, total


def _megabytes(entries: Sequence[Entry]) -> str:
    return f"{sum(map(bytes_of, entries)) / 1e6:,.1f}"


def _read_head(folder: Path) -> dict[str, Any]:
    try:
        head = json.loads(read_regular(folder / HEAD, MAX_HEAD_BYTES, links=False))
        return {"scale": float(head["scale"]), "notes": list(head["notes"]), "passed": dict(head["passed"])}
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise CorpusError(f"{folder / HEAD}: {error}") from None
