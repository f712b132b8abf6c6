"""Scan a folder for entries with their labels."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePath, PurePosixPath
from types import MappingProxyType
from typing import Any

from helicon.data.captions import settle, with_caption_files
from helicon.data.entries import DataError, Entry, FolderScan, Origin, accepted, matched
from helicon.data.folders import NOT_REGULAR, Walk, walk
from helicon.data.manifest import scan_manifest
from helicon.data.passed import count, kind_unread, passed_over
from helicon.data.shards import COMPRESSED, COMPRESSED_SUFFIXES, SUFFIX, Member, read_shard
from helicon.data.stems import StemFile, grouped_by_stem, stem_key
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.formats.text_files import AUTO
from helicon.modalities.base import Modality

MAX_EMPTY = 100  # empty files of a folder that are named; more are counted, without an example for each


def scan(
    root: Path, modalities: Sequence[Modality], manifest: Path | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> FolderScan:  # fmt: skip
    """Find the entries that have a file of each modality, of equal stem in the same folder, searched recursively.

    Links are followed, each folder is searched once, and only regular files are opened (see `folders.walk`). Tar files
    are shards, whose files are found in them. The label is the name of the first folder below the root.

    Args:
        root: folder, or a single file.
        modalities: `Modality` objects that an entry needs; those that are in no file, such as labels, are passed over.
        manifest: file that lists the entries instead (see `scan_manifest`).
        options: of reading, by name: the `encoding` of manifests, and how `captions` are to be read.

    Returns:
        `FolderScan`: entries in order of name, skipped file -> reason, and how captions are read.

    Raises:
        DataError: nothing is found, or the manifest cannot be read.
    """
    modalities = with_caption_files([modality for modality in modalities if modality.in_files])
    if not root.exists():
        raise DataError(f"{root}: no such file or folder")
    encoding = options.get("encoding", AUTO)
    result = scan_manifest(root, modalities, manifest, encoding) if manifest else _scan_folder(root, modalities)
    if not result.entries:
        suffixes = "; ".join(f"{m.name}: {' '.join(sorted(m.suffixes))}" for m in modalities)
        pairs = " as pairs of equal stem, or named by --manifest" if len(modalities) > 1 and not manifest else ""
        first = [
            f"passed over: {printable(name, MAX_QUOTED)}: {printable(reason, MAX_QUOTED)}"
            for name, reason in result.skipped.items()
        ][:1]
        message = f"{manifest or root}: no files to train on{pairs}; accepted suffixes are {suffixes}"
        raise DataError("; ".join([message, *first, *filter(None, [passed_over(result.passed)])]))
    result.entries.sort(key=lambda entry: entry.name)
    result.notes += filter(None, [_alike(result.entries)])
    _settle_captions(result, modalities, options)
    return result


def _settle_captions(scanned: FolderScan, modalities: Sequence[Modality], options: Mapping[str, Any]) -> None:
    """Add to a search whether files of captions have one a line, where there are such files."""
    in_files = [modality for modality in modalities if modality.in_files]
    if len(in_files) > 1 and (captions := next((m for m in in_files if m.captions), None)):
        scanned.options["captions"], note = settle(scanned.entries, captions, options)
        scanned.notes += [note] if note else []


def scan_origins(
    origins: Sequence[Origin], modalities: Sequence[Modality], options: Mapping[str, Any] = MappingProxyType({})
) -> FolderScan:  # fmt: skip
    """Find the entries of several places, one after the other; a place without files of these modalities adds none.

    Args:
        origins: `Origin`s on this machine.
        modalities: as in `scan`.
        options: as in `scan`.

    Returns:
        `FolderScan` of all, with `Entry.origin` set.

    Raises:
        DataError: there are files of these modalities in none of them, or one of them does not exist.
    """
    joined, faults, settled = FolderScan(entries=[]), [], []
    for number, origin in enumerate(origins):
        root = Path(origin.path)
        try:
            scanned = scan(root, modalities, origin.manifest, options)
        except DataError as fault:
            if not root.exists():
                raise
            faults.append(fault)
            continue
        joined.entries += [replace(entry, origin=number) for entry in scanned.entries] if number else scanned.entries
        joined.skipped |= scanned.skipped
        joined.notes += scanned.notes
        joined.passed += scanned.passed
        settled.append(scanned.options)
    if not joined.entries:
        raise faults[0]
    joined.options = settled[0]
    if any(other != settled[0] for other in settled):  # one decision for all of them
        _settle_captions(joined, modalities, options)
    return joined


def _scan_folder(root: Path, modalities: Sequence[Modality]) -> FolderScan:
    is_folder = root.is_dir()
    base = root if is_folder else root.parent
    result, stem_files = FolderScan(entries=[]), list[StemFile]()
    empty: list[tuple[str, ...]] = []  # the first, as path parts
    n_empty = 0

    def take(entry: os.DirEntry[str]) -> bool:
        nonlocal n_empty
        if entry.name.lower().endswith((SUFFIX, *COMPRESSED_SUFFIXES)):
            return True
        if not any(modality.accepted_suffix(entry.name) for modality in modalities):
            if kind := kind_unread(entry.name, modalities):
                count(result.passed, kind)
            return False
        if entry.stat().st_size:
            return True
        n_empty += 1
        if n_empty <= MAX_EMPTY:
            empty.append(Path(entry.path).relative_to(root).parts)
        return False

    inside = walk(root, take) if is_folder else Walk([(root.name,)] if root.is_file() else [])
    if n_empty > MAX_EMPTY:
        count(result.passed, "empty files", n_empty)
    else:  # their readers say what is wrong with them
        inside.files = sorted([*inside.files, *empty])
    for name, reason in inside.skipped.items():
        result.skip(name, reason)
    result.passed += inside.passed
    if not is_folder and not inside.files:
        result.skip(root, NOT_REGULAR)
    if inside.links:
        result.notes.append(f"links      {inside.links:,} in {printable(root, MAX_QUOTED)} followed")
    for parts in inside.files:
        relative, name = Path(*parts), parts[-1].lower()
        path = base / relative
        if name.endswith(COMPRESSED_SUFFIXES):
            result.skip(path, COMPRESSED)
        elif name.endswith(SUFFIX):
            scan_shard(path, relative, modalities, result)
        elif modality := accepted(path, modalities):
            stem = relative.with_name(relative.name[: -len(modality.accepted_suffix(name))])
            stem_files.append(StemFile(stem if len(modalities) > 1 else relative, path, modality))
    # Alone, two files of one stem (a.mid, a.midi) are two examples; in pairs the stem is what joins them
    for group in grouped_by_stem(stem_files).values() if len(modalities) > 1 else ([file] for file in stem_files):
        stem = next((file.stem for file in group if not file.modality.captions), group[0].stem)
        entry = matched(stem.as_posix(), _label(stem), [file.file for file in group], modalities, result.skip)
        result.entries += [entry] if entry else []
    return result


def scan_shard(shard: Path, relative: PurePath, modalities: Sequence[Modality], result: FolderScan) -> None:
    """Add the samples of a shard to a scan. Their names begin with the shard's name, which gives no label.

    Args:
        shard: path of the tar file.
        relative: its path within the root.
        modalities: `Modality` objects that an entry needs.
        result: `FolderScan` that entries and what is skipped are added to.
    """
    members, faults = read_shard(shard)
    for name, reason in faults.items():
        result.skip(name, reason)
    groups: dict[str, list[Member]] = {}
    for member in members:
        if accepted(member, modalities):
            groups.setdefault(stem_key(PurePosixPath(member.key)), []).append(member)
        elif kind := kind_unread(member.name, modalities):
            count(result.passed, f"{kind} in shards")
    for key, files in groups.items():
        label = _label(PurePosixPath(relative.parent.as_posix()) / key)
        entry = matched(f"{relative.with_suffix('').as_posix()}/{key}", label, files, modalities, result.skip)
        result.entries += [entry] if entry else []


def _alike(entries: Sequence[Entry]) -> str:
    """Describe names, of files or folders, that differ only in case: on other systems they are one."""
    names = {name for entry in entries for name in _with_folders(entry.name)}
    if len({hash(name.casefold()) for name in names}) == len(names):  # a quarter of the memory of what follows
        return ""
    spelled: dict[str, str] = {}
    alike = [(first, name) for name in sorted(names) if (first := spelled.setdefault(name.casefold(), name)) != name]
    if not alike:
        return ""
    first, second = (printable(name, MAX_QUOTED) for name in alike[0])
    return f"names      {len(alike):,} that differ only in case from another, such as {first} and {second}"


def _with_folders(name: str) -> Iterator[str]:
    """Yield a name and those of the folders that it is in."""
    while name:
        yield name
        name = name.rpartition("/")[0]


def _label(path: PurePath) -> str | None:
    return path.parts[0] if len(path.parts) > 1 else None
