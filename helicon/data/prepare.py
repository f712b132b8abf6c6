"""Prepare a folder: fit tokenizers once, encode all entries to shards on all cores, and cache both."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import helicon
from helicon.data.children import safe_path
from helicon.data.config import DataConfig
from helicon.data.corpus import MAX_INDEX_BYTES, VERSION, Corpus, CorpusError, Ids, read_corpus, write_corpus
from helicon.data.encoding import StatisticsJob, encode
from helicon.data.entries import DataError, Entry, FolderScan
from helicon.data.files import scan, split
from helicon.data.grouping import file_numbers, paired_examples, split_units
from helicon.data.labelled import with_labels, without_style
from helicon.data.manifest import KINDS, PAIRS
from helicon.data.reading import Reader
from helicon.data.workers import Workers
from helicon.formats.files import default_cache, read_regular, write_json
from helicon.formats.nearest import unknown
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.formats.quantities import quantity
from helicon.formats.temporary import clear_abandoned, remove_temporary, temporary_path
from helicon.modalities import registry
from helicon.modalities.base import Modality
from helicon.modalities.guarded import extend_tokenizer, fit_tokenizer
from helicon.objectives.base import Examples
from helicon.plugins.plugin import PluginError
from helicon.sequence.layout import Layout
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.sequencer import grids

PREPARED = "prepared.json"  # index of a cache folder: tokenizer states and report


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Files to prepare and the options that the cache depends on.

    Attributes:
        path: folder or file.
        layouts: specs, one corpus each.
        tokenizers: slot -> tokenizer name; the modality's first one unless given.
        options: of reading and fitting, by name.
        manifest: lists the files instead of a search.
        held_out: share of the validation part.
        cache: folder of caches; the user's unless given.
        grow: add the labels of the folder to adopted tokenizers; False for measuring.
        examples: kind of example. For `labelled`, only the target slot is read, so that other media are not needed, and
            all documents of a file are in one part of the split; for `pairs`, a manifest lists them.
        labels: labels to learn, entries with others are skipped; empty for any, None where labels are not needed.
    """

    path: Path
    layouts: tuple[str, ...]
    tokenizers: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    manifest: Path | None = None
    held_out: float = 0.05
    cache: Path | None = None
    grow: bool = True
    examples: Examples = "sequences"
    labels: tuple[str, ...] | None = None

    @staticmethod
    def of(
        config: DataConfig, layouts: tuple[str, ...], tokenizers: Mapping[str, str], options: Mapping[str, Any]
    ) -> DataSource:
        """Make the source of a data config.

        Args:
            config: paths and split.
            layouts: specs.
            tokenizers: slot -> tokenizer name.
            options: of reading and fitting, by name.

        Returns:
            A source with the other fields at their defaults.
        """
        manifest, cache = (Path(name) if name else None for name in (config.manifest, config.cache))
        return DataSource(
            path=Path(config.path),
            layouts=layouts,
            tokenizers=tokenizers,
            options=options,
            manifest=manifest,
            held_out=config.held_out,
            cache=cache,
        )


@dataclass(kw_only=True)
class Prepared:
    """Result of preparing a source.

    Attributes:
        tokenizers: by slot.
        tokenizer_names: slot -> name in the registry.
        corpora: one for each layout.
        files: number of files read.
        skipped: file -> reason.
        repaired: event -> count, over all files read.
        notes: lines for the report.
    """

    tokenizers: dict[str, Tokenizer]
    tokenizer_names: dict[str, str]
    corpora: list[Corpus]
    files: int
    skipped: dict[str, str]
    repaired: dict[str, int]
    notes: list[str] = field(default_factory=list)

    def summary(self) -> str:
        """Return the report: files read and skipped with reasons, repairs, tokens of both parts."""
        lines = [f"files      {self.files} read, {len(self.skipped)} skipped"]
        lines += [
            f"  skipped  {printable(name, MAX_QUOTED)}: {reason}" for name, reason in list(self.skipped.items())[:20]
        ]
        lines += [f"  ... and {len(self.skipped) - 20} more"] if len(self.skipped) > 20 else []
        lines += self.notes
        if self.repaired:
            lines.append("repaired   " + ", ".join(f"{n:,} {what}" for what, n in sorted(self.repaired.items())))
        for corpus in self.corpora:
            train, val = corpus.tokens(val=False), corpus.tokens(val=True)
            pieces = f"{len(corpus.select(True)):,} of {quantity(len(corpus), 'piece')}"
            lines.append(f"tokens     {train:,} for training, {val:,} for validation ({pieces}), `{corpus.layout}`")
        return "\n".join(lines)


def prepare(
    source: DataSource, adopted: Mapping[str, Tokenizer] | None = None, log: Callable[[str], None] = lambda line: None,
    kept: Mapping[str, Tokenizer] | None = None, processes: int | None = None,
) -> Prepared:  # fmt: skip
    """Fit the tokenizers of a source and encode its files, or load both from the cache.

    Args:
        source: files and options.
        adopted: slot -> tokenizer that is used instead of fitting one, with the folder's labels added if `source.grow`.
        log: receives progress messages.
        kept: slot -> tokenizer of an earlier call for the same source; used unchanged even if the folder has changed.
        processes: that read and encode where there is much to do; all cores unless given.

    Returns:
        Tokenizers, corpora and report.

    Raises:
        DataError: nothing can be read, or the folder does not fit the source's kind of example.
    """
    layouts = [Layout.parse(spec) for spec in source.layouts]
    scans = [scan(source.path, modalities_of(layout, source.examples), source.manifest) for layout in layouts]
    for scanned in scans:
        _check_pairs(source, scanned)
    if source.labels is not None:
        scans = [with_labels(scanned, source.labels, str(source.path)) for scanned in scans]
    adopted = dict(adopted or {})
    folder = (source.cache or default_cache()) / _key(source, scans, adopted)
    if kept is not None and not _holds(folder, kept):
        source, adopted = replace(source, grow=False), dict(kept)
        folder = folder.with_name(_key(source, scans, adopted))
    notes = list(dict.fromkeys(line for scanned in scans for line in scanned.notes))
    labels = [[entry.label for entry in scanned.entries] for scanned in scans]
    if source.labels is None and (missing := without_style(layouts, labels)):
        notes.append(f"labels     {missing}")
    try:
        prepared = replace(_load(folder, adopted), notes=notes)
        log(f"cache      {folder}")
        return prepared
    except CorpusError as fault:
        if folder.exists():
            log(f"cache      {fault}: built again")
    with safe_path(), Workers(processes) as workers:
        return replace(_build(source, layouts, scans, adopted, folder, workers), notes=notes)


def slots_of(layout: Layout, examples: Examples = "sequences") -> list[str]:
    """Return the slots of a layout that are read.

    Args:
        layout: of the examples.
        examples: kind of example.

    Returns:
        Names of all slots, or of the target alone for `labelled`.
    """
    return [layout.target.name] if examples == "labelled" else layout.all_slots


def modalities_of(layout: Layout, examples: Examples = "sequences") -> list[Modality]:
    """Return the modalities of the slots that are read.

    Args:
        layout: of the examples.
        examples: kind of example.

    Returns:
        Each modality once, in order of the slots.

    Raises:
        DataError: the target slot is in no file, such as a label.
    """
    if not modality_of(layout.target.name, [layout]).in_files:
        raise DataError(f"layout `{layout}`: a label is a condition of what is made; put a slot such as image after it")
    modalities = [modality_of(slot, [layout]) for slot in slots_of(layout, examples)]
    return list({modality.name: modality for modality in modalities}.values())


def modality_of(slot: str, layouts: Iterable[Layout]) -> Modality:
    """Return the modality of a slot, which may depend on the other slots of its layout.

    Args:
        slot: name.
        layouts: of the model; those without the slot are ignored.

    Returns:
        The modality.

    Raises:
        DataError: the layouts give different modalities.
    """
    having = [layout.all_slots for layout in layouts if slot in layout.all_slots]
    modalities = {modality.name: modality for modality in (registry.for_slot(slot, sources) for sources in having)}
    if len(modalities) > 1:
        raise DataError(f"slot {slot!r} is of {' and of '.join(modalities)} in these layouts; a model has one of them")
    return next(iter(modalities.values()))


def _check_pairs(source: DataSource, scanned: FolderScan) -> None:
    """Raise DataError for pairs without an objective of pairs, and for such an objective without pairs."""
    where = printable(source.manifest or source.path, MAX_QUOTED)
    if source.examples == "pairs" and not any(entry.side for entry in scanned.entries):
        raise DataError(f"{where}: no pairs; --data.manifest with {PAIRS} is accepted")
    if source.examples != "pairs" and any(entry.side for entry in scanned.entries):
        raise DataError(f"{where}: pairs, which an objective of pairs alone reads; {KINDS} is accepted")


def _key(source: DataSource, scans: Sequence[FolderScan], adopted: Mapping[str, Tokenizer]) -> str:
    states = {slot: tokenizer.state() for slot, tokenizer in adopted.items()}
    tokenizer_names, layouts = _tokenizer_names(source), [Layout.parse(spec).all_slots for spec in source.layouts]
    parts = [
        helicon.__version__, VERSION, source.layouts, tokenizer_names, sorted(source.options.items()),
        [plugin.stamp for plugin in registry.plugins_of(layouts, tokenizer_names, adopted)],
        source.held_out, str(source.path.resolve()), states, source.grow, source.examples,
        [[entry.stamps for entry in scanned.entries] for scanned in scans],
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, default=str, sort_keys=True).encode()).hexdigest()[:20]


def _tokenizer_names(source: DataSource) -> dict[str, str]:
    """Return slot -> tokenizer name for each slot of the source's layouts."""
    layouts = [Layout.parse(spec) for spec in source.layouts]
    slots = dict.fromkeys(slot for layout in layouts for slot in layout.all_slots)
    for slot, name in source.tokenizers.items():
        if slot not in slots:
            raise DataError(f"tokenizer {name}: {unknown('slot', slot, slots)}")
        registry.spec(slot, name, next(layout.all_slots for layout in layouts if slot in layout.all_slots))
    return {slot: source.tokenizers.get(slot) or next(iter(modality_of(slot, layouts).slots[slot])) for slot in slots}


def _holds(folder: Path, kept: Mapping[str, Tokenizer]) -> bool:
    """Return whether a complete cache was made with these tokenizers."""
    try:
        cached = _load(folder, kept).tokenizers
    except CorpusError:
        return False
    return {s: t.state() for s, t in cached.items()} == {s: t.state() for s, t in kept.items()}


def _load(folder: Path, adopted: Mapping[str, Tokenizer]) -> Prepared:
    """Load a cache. Adopted tokenizers are used where states are equal: codecs have weights that no state contains.

    CorpusError for a cache that is missing or damaged.
    """
    try:
        index = json.loads(read_regular(folder / PREPARED, MAX_INDEX_BYTES, links=False))
        tokenizer_names, tokenizers = index["choices"], {}
        for slot, state in index["states"].items():
            same = slot in adopted and _plain(adopted[slot].state()) == state
            tokenizers[slot] = adopted[slot] if same else registry.restore_tokenizer(slot, tokenizer_names[slot], state)
        corpora = [read_corpus(folder / str(i)) for i in range(index["corpora"])]
        return Prepared(
            tokenizers=tokenizers,
            tokenizer_names=tokenizer_names,
            corpora=corpora,
            files=index["files"],
            skipped=index["skipped"],
            repaired=index["repaired"],
        )
    except (OSError, LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise error if isinstance(error, CorpusError | PluginError) else CorpusError(f"{folder}: {error}") from None


def _plain(state: Any) -> Any:
    """Return a state as it comes back from JSON."""
    return json.loads(json.dumps(state))


def _build(
    source: DataSource, layouts: Sequence[Layout], scans: Sequence[FolderScan], adopted: Mapping[str, Tokenizer],
    folder: Path, workers: Workers,
) -> Prepared:  # fmt: skip
    readers = [
        Reader(scanned.entries, modalities_of(layout, source.examples), source.options, workers)
        for layout, scanned in zip(layouts, scans)
    ]
    surveys: dict[str, list[Any]] = {}
    if asked := _modalities_to_survey(source, adopted):
        for reader in readers:
            job = StatisticsJob([modality.name for modality in reader.modalities if modality.name in asked])
            for _, surveys_of_entry in reader.read("reading", job):
                for name, several in surveys_of_entry.items():
                    surveys.setdefault(name, []).extend(several)
        _check_read(source, layouts, readers)
    tokenizers, tokenizer_names = _fit(source, surveys, adopted)
    layouts = [layout.filled(grids(tokenizers)) for layout in layouts]
    folder.parent.mkdir(parents=True, exist_ok=True)
    clear_abandoned(folder.parent)
    building = temporary_path(folder)
    try:
        counts = [
            _encode(building / str(i), layout, reader, tokenizers, tokenizer_names, source)
            for i, (layout, reader) in enumerate(zip(layouts, readers))
        ]
        _check_read(source, layouts, readers)
        skipped = {name: reason for part in [*scans, *readers] for name, reason in part.skipped.items()}
        repaired: dict[str, int] = {}
        for count in [*counts, *(reader.repaired for reader in readers)]:
            for what, n in count.items():
                repaired[what] = repaired.get(what, 0) + n
        index = {
            "corpora": len(layouts), "choices": tokenizer_names, "files": sum(len(reader.good) for reader in readers),
            "skipped": skipped, "repaired": repaired,
            "states": {slot: tokenizer.state() for slot, tokenizer in tokenizers.items()},
        }  # fmt: skip
        write_json(building / PREPARED, index)
        with suppress(CorpusError):  # another process has built the same cache meanwhile
            return _load(folder, tokenizers)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            os.replace(building, folder)
        except OSError:
            with suppress(CorpusError):
                return _load(folder, tokenizers)
            raise
    except OSError as error:
        # The temporary folder is removed: name the final one
        if not Path(error.filename or "").is_relative_to(building):
            raise
        raise OSError(error.errno, error.strerror, os.fspath(folder)) from error
    finally:
        remove_temporary(building)
    return _load(folder, tokenizers)


def _modalities_to_survey(source: DataSource, adopted: Mapping[str, Tokenizer]) -> set[str]:
    """Return the modalities whose surveys some tokenizer is fitted to or grows by."""
    layouts = [Layout.parse(spec) for spec in source.layouts]
    modalities = set()
    for slot, name in _tokenizer_names(source).items():
        spec = registry.spec(slot, name)
        if (source.grow and spec.extend_vocabulary) if slot in adopted else spec.needs_fit:
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


def _fit(
    source: DataSource, surveys: Mapping[str, list[Any]], adopted: Mapping[str, Tokenizer]
) -> tuple[dict[str, Tokenizer], dict[str, str]]:
    """Return slot -> tokenizer, adopted and grown or fitted to the surveys of its medium, and slot -> name."""
    tokenizers: dict[str, Tokenizer] = {}
    tokenizer_names = _tokenizer_names(source)
    layouts = [Layout.parse(spec) for spec in source.layouts]
    for slot in tokenizer_names:
        modality = modality_of(slot, layouts)
        name, statistics = tokenizer_names[slot], surveys.get(modality.name, [])
        if slot in adopted:
            tokenizers[slot] = extend_tokenizer(slot, name, adopted[slot], statistics) if source.grow else adopted[slot]
        else:
            siblings = {s: source.tokenizers.get(s) or next(iter(modality.slots[s])) for s in modality.slots}
            tokenizers[slot] = fit_tokenizer(slot, name, statistics, {"siblings": siblings, **source.options})
    return tokenizers, tokenizer_names


def _encode(
    folder: Path, layout: Layout, reader: Reader, tokenizers: Mapping[str, Tokenizer],
    tokenizer_names: Mapping[str, str], source: DataSource,
) -> dict[str, int]:  # fmt: skip
    """Write the corpus of a layout and return counts of what encoding lost."""
    slots = slots_of(layout, source.examples)
    sizes = {slot: len(tokenizers[slot].block) for slot in slots}
    modalities = {slot: modality_of(slot, [layout]).name for slot in slots}
    rows: list[tuple[str, str | None, Mapping[str, Ids]]] = []
    entries: list[Entry] = []
    lost: Counter[str] = Counter()
    for entry, piece in encode(reader, layout, modalities, tokenizers, tokenizer_names):
        for coded in (coded for several in piece.ids.values() for coded in several):
            lost.update(coded.lost)
        if any(len(coded.ids) for coded in piece.ids[layout.target.name]):
            ids = {slot: [coded.ids for coded in several] for slot, several in piece.ids.items()}
            rows.append((piece.name, entry.label, ids))
            entries.append(entry)
        else:
            lost["pieces without anything in them"] += 1
    val = split(split_units([row[0] for row in rows], entries, source.examples), source.held_out)
    examples = ((name, label, out, ids) for (name, label, ids), out in zip(rows, val))
    write_corpus(folder, str(layout), examples, sizes, file_numbers(entries), paired_examples(entries))
    return lost
