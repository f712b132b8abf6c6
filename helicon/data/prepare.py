"""A folder to tokenizers and token shards: read on all cores, fitted once, cached by all they depend on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

import helicon
from helicon.data.corpus import VERSION, Corpus, CorpusError, Ids, narrow, read_corpus, write_corpus
from helicon.data.entries import DataError, Entry, Scan
from helicon.data.files import scan, split
from helicon.data.reading import Alternatives, Media, Reader, variants
from helicon.formats.files import default_cache, write_json
from helicon.modalities import registry
from helicon.modalities.base import Modality
from helicon.sequence.layout import Layout
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.guides import most_ids
from helicon.tokenizers.names import unknown
from helicon.tokenizers.sequencer import grids

PREPARED = "prepared.json"
TOGETHER = 64  # pieces that a tokenizer encodes at a time


@dataclass(frozen=True)
class Source:
    """What to prepare. tokenizers: slot -> name in its modality's table; options: of reading and fitting, by name.

    grow: whether adopted tokenizers learn the labels of the folder; one that is measured on it does not.
    """

    path: Path
    layouts: tuple[str, ...]
    tokenizers: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    manifest: Path | None = None
    held_out: float = 0.05
    cache: Path | None = None
    grow: bool = True


@dataclass
class Prepared:
    """Tokenizers of all slots, a corpus for each layout, and what happened to the files."""

    tokenizers: dict[str, Tokenizer]
    choices: dict[str, str]
    corpora: list[Corpus]
    files: int
    skipped: dict[str, str]
    repaired: dict[str, int]

    def summary(self) -> str:
        """Lines for people: files found and passed over with reasons, repairs, tokens."""
        lines = [f"files      {self.files} read, {len(self.skipped)} skipped"]
        lines += [f"  skipped  {name}: {reason}" for name, reason in list(self.skipped.items())[:20]]
        lines += [f"  ... and {len(self.skipped) - 20} more"] if len(self.skipped) > 20 else []
        if self.repaired:
            lines.append("repaired   " + ", ".join(f"{n:,} {what}" for what, n in sorted(self.repaired.items())))
        for corpus in self.corpora:
            train, held = corpus.tokens(held=False), corpus.tokens(held=True)
            pieces = f"{len(corpus.select(True))} of {len(corpus)} pieces"
            lines.append(f"tokens     {train:,} to train on, {held:,} held out ({pieces}) for `{corpus.layout}`")
        return "\n".join(lines)


def prepare(
    source: Source, adopted: Mapping[str, Tokenizer] | None = None, say: Callable[[str], None] = lambda line: None,
    kept: Mapping[str, Tokenizer] | None = None,
) -> Prepared:  # fmt: skip
    """Tokenizers and shards of a source, from the cache where it is whole.

    `adopted` tokenizers are used as they are, grown by the labels of the folder if the source says so. `kept` ones are
    those that an earlier call gave: no others are used, also if the folder has changed since. DataError when nothing
    can be read.
    """
    layouts = [Layout.parse(spec) for spec in source.layouts]
    scans = [scan(source.path, modalities_of(layout), source.manifest) for layout in layouts]
    adopted = dict(adopted or {})
    folder = (source.cache or default_cache()) / _key(source, scans, adopted)
    if kept is not None and not _holds(folder, kept):
        source, adopted = replace(source, grow=False), dict(kept)
        folder = folder.with_name(_key(source, scans, adopted))
    try:
        prepared = _load(folder, adopted)
        say(f"cache      {folder}")
        return prepared
    except CorpusError as fault:
        if folder.exists():
            say(f"cache      {fault}: built again")
    return _build(source, layouts, scans, adopted, folder)


def modalities_of(layout: Layout) -> list[Modality]:
    """Those of the layout's slots, once each, in order."""
    found = [modality_of(slot, [layout]) for slot in layout.sources]
    return list({modality.name: modality for modality in found}.values())


def modality_of(slot: str, layouts: Iterable[Layout]) -> Modality:
    """That of a slot, by what else is in the layouts that have it."""
    return registry.for_slot(slot, [name for layout in layouts if slot in layout.sources for name in layout.sources])


def _key(source: Source, scans: Sequence[Scan], adopted: Mapping[str, Tokenizer]) -> str:
    states = {slot: tokenizer.state() for slot, tokenizer in adopted.items()}
    parts = [
        helicon.__version__, VERSION, source.layouts, _choices(source), sorted(source.options.items()),
        source.held_out, str(source.path.resolve()), states, source.grow,
        [[entry.stamps for entry in found.entries] for found in scans],
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, default=str, sort_keys=True).encode()).hexdigest()[:20]


def _choices(source: Source) -> dict[str, str]:
    """Slot -> tokenizer's name, for each slot of the source's layouts."""
    layouts = [Layout.parse(spec) for spec in source.layouts]
    slots = dict.fromkeys(slot for layout in layouts for slot in layout.sources)
    for slot in source.tokenizers:
        if slot not in slots:
            raise DataError(f"tokenizer {source.tokenizers[slot]}: {unknown('slot', slot, slots)}")
    return {slot: source.tokenizers.get(slot) or next(iter(modality_of(slot, layouts).slots[slot])) for slot in slots}


def _holds(folder: Path, kept: Mapping[str, Tokenizer]) -> bool:
    """Whether a whole cache was made with these tokenizers."""
    try:
        found = _load(folder, kept).tokenizers
    except CorpusError:
        return False
    return {s: t.state() for s, t in found.items()} == {s: t.state() for s, t in kept.items()}


def _load(folder: Path, adopted: Mapping[str, Tokenizer]) -> Prepared:
    """What a cache holds. Tokenizers whose states are those of `adopted` ones are these, as codecs have weights too."""
    try:
        index = json.loads((folder / PREPARED).read_text(encoding="utf-8"))
        choices, tokenizers = index["choices"], {}
        for slot, state in index["states"].items():
            same = slot in adopted and _plain(adopted[slot].state()) == state
            tokenizers[slot] = adopted[slot] if same else registry.factory(slot, choices[slot]).from_state(state)
        corpora = [read_corpus(folder / str(i)) for i in range(index["corpora"])]
        return Prepared(tokenizers, choices, corpora, index["files"], index["skipped"], index["repaired"])
    except (OSError, LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise error if isinstance(error, CorpusError) else CorpusError(f"{folder}: {error}") from None


def _plain(state: Any) -> Any:
    """A state as it comes back from JSON."""
    return json.loads(json.dumps(state))


def _build(
    source: Source, layouts: Sequence[Layout], scans: Sequence[Scan], adopted: Mapping[str, Tokenizer], folder: Path
) -> Prepared:
    readers = [Reader(found.entries, modalities_of(layout), source.options) for layout, found in zip(layouts, scans)]
    skipped = {name: reason for found in scans for name, reason in found.skipped.items()}
    surveys: dict[str, list[Any]] = {}
    for reader in readers:
        for _, media in reader.read("reading"):
            for name, thing in media.items():
                told = variants(paired(name, thing) if len(media) > 1 else thing)
                surveys.setdefault(name, []).extend(map(registry.get(name).survey, told))
        skipped.update(reader.skipped)
    for layout, reader in zip(layouts, readers):
        if not reader.good:
            first = next(iter(reader.skipped.items()))
            raise DataError(
                f"{source.path}: none of {len(reader.entries)} files for `{layout}` can be used; {first[0]}: {first[1]}"
            )
    tokenizers, choices = _fit(source, surveys, adopted)
    layouts = [layout.filled(grids(tokenizers)) for layout in layouts]
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = folder.with_name(f".{folder.name}-{uuid.uuid4().hex[:8]}")
    try:
        counts = [
            _encode(building / str(i), layout, reader, tokenizers, source.held_out)
            for i, (layout, reader) in enumerate(zip(layouts, readers))
        ]
        repaired: dict[str, int] = {}
        for count in [*counts, *(reader.repaired for reader in readers)]:
            for what, n in count.items():
                repaired[what] = repaired.get(what, 0) + n
        index = {
            "corpora": len(layouts), "choices": choices, "files": sum(len(reader.good) for reader in readers),
            "skipped": skipped, "repaired": repaired,
            "states": {slot: tokenizer.state() for slot, tokenizer in tokenizers.items()},
        }  # fmt: skip
        write_json(building / PREPARED, index)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(building, folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return _load(folder, tokenizers)


def _fit(
    source: Source, surveys: Mapping[str, list[Any]], adopted: Mapping[str, Tokenizer]
) -> tuple[dict[str, Tokenizer], dict[str, str]]:
    """A tokenizer for each slot: adopted and grown, or fitted to the surveys of its medium."""
    tokenizers: dict[str, Tokenizer] = {}
    choices = _choices(source)
    layouts = [Layout.parse(spec) for spec in source.layouts]
    for slot in choices:
        modality = modality_of(slot, layouts)
        factory = registry.factory(slot, choices[slot])
        found = surveys[modality.name]
        if slot in adopted:
            tokenizers[slot] = factory.grow(adopted[slot], found) if source.grow else adopted[slot]
        else:
            siblings = {s: source.tokenizers.get(s) or next(iter(modality.slots[s])) for s in modality.slots}
            tokenizers[slot] = factory.fit(found, siblings=siblings, **source.options)
    return tokenizers, choices


def _encode(
    folder: Path, layout: Layout, reader: Reader, tokenizers: Mapping[str, Tokenizer], held_out: float
) -> dict[str, int]:
    """Writes the corpus of one layout; gives what encoding lost, counted."""
    sizes = {slot: len(tokenizers[slot].block) for slot in layout.sources}
    room = most_ids(layout, tokenizers)
    lost: dict[str, int] = {}

    def cut(slot: str, ids: np.ndarray, counts: Mapping[str, int]) -> np.ndarray:
        length = room[slot]
        over = max(0, len(ids) - length) if length is not None else 0
        for what, n in {**counts, **({f"{slot} tokens cut": over} if over else {})}.items():
            lost[what] = lost.get(what, 0) + n
        # Narrow, since all of them are in memory before they are written
        return narrow(ids[:length], sizes[slot], slot)

    def rows() -> Iterator[tuple[str, str, str | None, Mapping[str, Ids]]]:
        pieces = ((n, e, piece) for e, media in reader.read("tokenising") for n, piece in _documents(layout, e, media))
        while group := list(islice(pieces, TOGETHER)):
            encoded: list[dict[str, Ids]] = [{} for _ in group]
            for slot in sizes:
                modality = modality_of(slot, [layout])
                several = [variants(piece[modality.name]) for _, _, piece in group]
                flat = modality.encode(tokenizers[slot], [media for media_of in several for media in media_of])
                cuts = (cut(slot, ids, counts) for ids, counts in flat)
                for found, media_of in zip(encoded, several):
                    own = list(islice(cuts, len(media_of)))
                    found[slot] = own[0] if len(own) == 1 else own
            for (name, entry, _), ids in zip(group, encoded):
                made = ids[layout.last.name]
                if any(map(len, [made] if isinstance(made, np.ndarray) else made)):
                    yield name, next(iter(entry.files.values())).suffix, entry.label, ids
                else:
                    lost["pieces without anything in them"] = lost.get("pieces without anything in them", 0) + 1

    found = list(rows())
    # By stem: what belongs to one picture is on one side, whatever stages it is trained in
    held = split([name.removesuffix(suffix) for name, suffix, _, _ in found], held_out)
    found = [(name, label, ids) for name, _, label, ids in found]
    write_corpus(folder, str(layout), ((n, label, out, ids) for (n, label, ids), out in zip(found, held)), sizes)
    return lost


def paired(name: str, media: Any) -> Any:
    """Media of a modality, or each of its alternatives, as they are beside other media."""
    modality = registry.get(name)
    return Alternatives(map(modality.paired, media)) if isinstance(media, Alternatives) else modality.paired(media)


def _documents(layout: Layout, entry: Entry, media: Media) -> Iterable[tuple[str, dict[str, Any]]]:
    """An entry is one document, but for a medium alone in an open slot that comes in parts, as long text does."""
    modality = modality_of(layout.last.name, [layout])
    if len(media) > 1:
        return [(entry.name, {name: paired(name, found) for name, found in media.items()})]
    if layout.last.length is not None:
        return [(entry.name, media)]
    parts = modality.documents(media[modality.name])
    if len(parts) == 1:
        return [(entry.name, {modality.name: parts[0]})]
    return [(f"{entry.name}#{i}", {modality.name: part}) for i, part in enumerate(parts)]
