"""Manifests: files that list other files with labels and captions, or preference pairs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from helicon.data.entries import DataError, Entry, File, FolderScan
from helicon.data.folders import NOT_REGULAR, escapes, parts_to_follow
from helicon.data.manifest_rows import KINDS, read_rows
from helicon.data.passed import count, kind_unread
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.formats.text_files import AUTO
from helicon.modalities.base import Modality

MAX_NAMED = 1000  # skipped rows that are listed; the others are counted, to keep reports and the cache small
# Path parts resolved on disk, each a system call, for names that may lead out of a folder of unknown origin
MAX_FOLLOWED = 20_000


@dataclass
class Passed:
    """Skipped rows: the first MAX_NAMED by name with the reason, and how many more there are."""

    named: dict[str, str]
    more: int = 0

    def __call__(self, what: str | Path, reason: str) -> None:
        if len(self.named) < MAX_NAMED:
            self.named[printable(what, MAX_QUOTED)] = reason
        else:
            self.more += 1


def scan_manifest(
    root: Path, modalities: Sequence[Modality], manifest: Path, encoding: str = AUTO
) -> FolderScan:  # fmt: skip
    """Find the entries that a manifest lists.

    A manifest below the root came with the data and may name files below the root only. One from elsewhere was named by
    the user: it may name any regular file, and the notes count the files outside.

    Captions are media of the first modality that reads words; several captions are variants. Modalities that are not in
    the manifest are looked for beside the file, by its stem.

    Args:
        root: folder that file names are relative to.
        modalities: `Modality` objects that an entry needs.
        manifest: CSV, JSONL or JSON file.
        encoding: of the manifest, as in `text_files.read_text`.

    Returns:
        `FolderScan`: entries in order of the manifest, skipped row or file -> reason, and notes for the report.

    Raises:
        DataError: the manifest cannot be read.
    """
    if not manifest.is_file():
        fault = f"{NOT_REGULAR}; as a manifest" if manifest.exists() else "no such manifest;"
        raise DataError(f"{manifest}: {fault} {KINDS} is needed")
    result, outside = FolderScan(entries=[]), 0
    bases = {root.absolute(), root.resolve()}
    came_along = manifest.resolve().is_relative_to(root.resolve())
    caption_modality = next((m for m in modalities if m.typed is not None), None)
    passed, followed = Passed(result.skipped), 0
    folders: dict[str, Path] = {}  # cache: folder of a name -> resolved
    rows, encoded = read_rows(manifest, encoding, passed)
    if encoded:
        result.notes.append(f"manifest   {manifest}: {encoded}")
    for row in rows:
        modality = next((m for m in modalities if m.accepted_suffix(row.file)), None)  # no Path yet: rows may be many
        if modality is None:
            passed(os.path.join(root, row.file), "not of an accepted suffix")
            if kind := kind_unread(row.file, modalities):
                count(result.passed, kind)
            continue
        path = root / row.file
        to_follow = parts_to_follow(row.file, bases)
        followed += to_follow * (os.path.dirname(row.file) not in folders)
        if came_along and followed > MAX_FOLLOWED:
            names = "names that have `..` or begin outside of the folder, in which it lies"
            raise DataError(f"{manifest}: more than {MAX_FOLLOWED:,} parts of {names}")
        is_outside = to_follow > 0 and escapes(row.file, root, folders)
        if reason := _unusable(path, is_outside and came_along):
            passed(path, reason)
            continue
        stem = path.name[: -len(modality.accepted_suffix(row.file))]
        files: dict[str, File] = {modality.name: path}
        others = [m for m in modalities if m is not modality and not (m is caption_modality and row.texts)]
        for other in others:
            beside = [p for p in (path.with_name(stem + suffix) for suffix in other.suffixes) if _is_file(p)]
            files |= {other.name: beside[0]} if beside else {}
        missing = [m for m in others if m.name not in files]
        if missing:
            captions = "no caption and " if caption_modality in missing else ""
            names = " or ".join(m.name for m in missing)
            passed(path, f"{captions}no {names} file of the same stem")
        else:
            outside += is_outside
            texts = tuple(row.texts)
            result.entries.append(Entry(name=row.file, files=files, label=row.label, texts=texts, side=row.side))
    if passed.more:
        result.notes.append(f"manifest   {manifest}: {passed.more:,} more rows are skipped")
    if outside:
        result.notes.append(f"manifest   {manifest} names {outside:,} files outside {root}")
    return result


def _unusable(path: Path, leads_out: bool) -> str:
    """Return why a file of a manifest is not read; empty if it is."""
    if leads_out:
        return "outside of the folder, in which its manifest lies: not opened"
    return "" if _is_file(path) else NOT_REGULAR if os.path.lexists(path) else "not a file"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than the file system takes
        return False
