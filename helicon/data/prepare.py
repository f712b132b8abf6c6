"""Prepare a folder: fit tokenizers once, encode all entries to shards on all cores, and cache both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import and_
from pathlib import Path

from helicon.data.build import build
from helicon.data.cache import cache_key, holds, load_cache
from helicon.data.children import safe_path
from helicon.data.corpus import CorpusError
from helicon.data.entries import DataError, FolderScan
from helicon.data.files import scan, scan_origins
from helicon.data.labelled import with_labels, without_style
from helicon.data.manifest_rows import KINDS, PAIRS
from helicon.data.prepared import Prepared
from helicon.data.source import DataSource, modalities_of
from helicon.data.split import split_scans
from helicon.data.workers import Workers
from helicon.formats.files import default_cache
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.formats.validation import join_records
from helicon.sequence.layout import Layout
from helicon.sources.local import local_path, source_notes
from helicon.tokenizers.base import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Plan of a cache: the files that were found, and where it will be.

    Attributes:
        source: `DataSource`, without growing where kept tokenizers are used.
        layouts: parsed, of the source.
        scans: a `FolderScan` of each layout, split.
        pretrained: slot -> tokenizer that is used instead of fitting one.
        folder: of the cache.
        notes: lines for the report on what came from elsewhere.
    """

    source: DataSource
    layouts: list[Layout]
    scans: list[FolderScan]
    pretrained: dict[str, Tokenizer]
    folder: Path
    notes: list[str]


def plan_cache(
    source: DataSource, pretrained: Mapping[str, Tokenizer] | None = None,
    log: Callable[[str], None] = lambda line: None, kept: Mapping[str, Tokenizer] | None = None,
) -> Plan:  # fmt: skip
    """Search the files of a source, which are brought to the cache if they are elsewhere, and name its cache.

    Args:
        source: `DataSource`, files and options.
        pretrained: as in `prepare`.
        log: as in `prepare`.
        kept: as in `prepare`.

    Returns:
        The `Plan`.

    Raises:
        DataError: as `prepare` does.
    """
    layouts = [Layout.parse(spec) for spec in source.layouts]
    places = [origin.path for origin in source.all_origins]
    source = _brought(source, log)
    brought = [source_notes(place, source.cache) for place in places]
    scans = [
        scan_origins(source.all_origins, modalities_of(layout, source.examples), source.options) for layout in layouts
    ]
    _check_origins(source, layouts, scans)
    for scanned in scans:
        _check_pairs(source, scanned)
    if source.labels is not None:
        scans = [with_labels(scanned, source.labels, str(source.path)) for scanned in scans]
    scans = split_scans(source, layouts, scans)
    pretrained = dict(pretrained or {})
    folder = (source.cache or default_cache()) / cache_key(source, scans, pretrained)
    if kept is not None and not holds(folder, kept):
        source, pretrained = replace(source, grow=False), dict(kept)
        folder = folder.with_name(cache_key(source, scans, pretrained))
    notes = [line for lines in brought for line in lines]
    return Plan(source=source, layouts=layouts, scans=scans, pretrained=pretrained, folder=folder, notes=notes)


def _brought(source: DataSource, log: Callable[[str], None]) -> DataSource:
    """Return a source whose files are all on this machine."""
    origins = [replace(origin, path=local_path(origin.path, source.cache, log)) for origin in source.origins]
    path = origins[0].path if origins else local_path(source.path, source.cache, log)
    return replace(source, path=path, origins=tuple(origins))


def prepare(
    source: DataSource, pretrained: Mapping[str, Tokenizer] | None = None,
    log: Callable[[str], None] = lambda line: None, kept: Mapping[str, Tokenizer] | None = None,
    processes: int | None = None,
) -> Prepared:  # fmt: skip
    """Fit the tokenizers of a source and encode its files, or load both from the cache.

    Args:
        source: `DataSource`, files and options.
        pretrained: slot -> tokenizer to use instead of fitting one, with the folder's labels added if `source.grow`.
        log: called with each progress message.
        kept: slot -> tokenizer of an earlier call for the same source; used unchanged even if the folder has changed.
        processes: number of processes that read and encode where there is much to do; all cores unless given.

    Returns:
        A `Prepared`: tokenizers, corpora and report.

    Raises:
        DataError: nothing can be read, or the folder does not fit the source's kind of example.
    """
    plan = plan_cache(source, pretrained, log, kept)
    try:
        prepared = load_cache(plan.folder, plan.pretrained)
        log(f"cache      {plan.folder}")
    except CorpusError as fault:
        if plan.folder.exists():
            log(f"cache      {fault}: built again")
        with safe_path(), Workers(processes) as workers:
            prepared = build(plan.source, plan.layouts, plan.scans, plan.pretrained, plan.folder, workers)
    return reported(plan, prepared)


def reported(plan: Plan, prepared: Prepared) -> Prepared:
    """Add to what was prepared the report on its search.

    Args:
        plan: `Plan` of the search.
        prepared: `Prepared`, as the cache has it.

    Returns:
        A `Prepared` with notes, counts of what was passed over, and the record of earlier trainings.
    """
    notes = list(dict.fromkeys([*plan.notes, *(line for scanned in plan.scans for line in scanned.notes)]))
    # A file that some layout reads is not passed over
    passed = reduce(and_, (scanned.passed for scanned in plan.scans))
    labels = [[entry.label for entry in scanned.entries] for scanned in plan.scans]
    ends = {(e.origin, e.name): e.val_start for scanned in plan.scans for e in scanned.entries if e.val_start}
    notes += [
        f"validation the end of {printable(name, MAX_QUOTED)}, from byte {start:,} on: there are too few files"
        for (_, name), start in ends.items()
    ]
    if plan.source.labels is None and (missing := without_style(plan.layouts, labels)):
        notes.append(f"labels     {missing}")
    return replace(prepared, notes=notes, passed=passed, record=join_records(plan.source.record, prepared.record))


def _check_origins(source: DataSource, layouts: Sequence[Layout], scans: Sequence[FolderScan]) -> None:
    """Raise DataError for one of several places that has files for none of the layouts, or for pairs in several."""
    if source.origins and source.examples == "pairs":
        raise DataError(f"{len(source.origins)} sources of pairs; one, with a manifest, is accepted")
    missing = set(range(len(source.origins))) - {entry.origin for scanned in scans for entry in scanned.entries}
    if missing:
        origin = source.origins[min(missing)]
        scan(
            Path(origin.path), modalities_of(layouts[0], source.examples), origin.manifest
        )  # which says what is accepted


def _check_pairs(source: DataSource, scanned: FolderScan) -> None:
    """Raise DataError for pairs without an objective of pairs, and for such an objective without pairs."""
    where = printable(source.manifest or source.path, MAX_QUOTED)
    if source.examples == "pairs" and not any(entry.side for entry in scanned.entries):
        raise DataError(f"{where}: no pairs; --data.manifest with {PAIRS} is accepted")
    if source.examples != "pairs" and any(entry.side for entry in scanned.entries):
        raise DataError(f"{where}: pairs, which an objective of pairs alone reads; {KINDS} is accepted")
