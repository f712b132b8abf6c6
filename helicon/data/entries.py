"""Entries: the files and texts that belong to one example, before they are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from helicon.data.passed import MAX_NAMED, count
from helicon.data.shards import Member
from helicon.formats.printable import printable
from helicon.modalities.base import Modality
from helicon.sources.places import Place

File = Path | Member
JSON = ".json"  # suffix of files that often lie beside media without a caption, and are not named where unused


class DataError(ValueError):
    """A folder or manifest that cannot be trained on; the message names it and says what is accepted."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """One of the places that the files of a source come from.

    Attributes:
        name: in reports and figures.
        path: folder or file, or a place that is elsewhere.
        manifest: lists the files instead of a search.
    """

    name: str
    path: Place
    manifest: Path | None = None


class Side(NamedTuple):
    """Side of a preference pair of a manifest: name of the pair, and whether it was preferred."""

    pair: str
    chosen: bool


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Example on disk.

    Attributes:
        name: relative to the root, without suffix.
        files: modality -> file.
        label: from the folder or the manifest.
        texts: captions of the manifest.
        side: of the preference pair that it belongs to, if any.
        val_start: first byte in the validation part, 0 where all of it is; None in the training part.
        origin: number of the source that it is from, in the order of `DataSource.all_origins`.
    """

    name: str
    files: dict[str, File]
    label: str | None = None
    texts: tuple[str, ...] = ()
    side: Side | None = None
    val_start: int | None = None
    origin: int = 0

    @property
    def stamps(self) -> list[Any]:
        """List that is the entry's part of the cache key: name, modality -> stamp of its file, and the other fields."""
        files = {m: stamp(file) for m, file in sorted(self.files.items())}
        return [self.name, files, self.label, self.texts, self.side, self.val_start, self.origin]


@dataclass(kw_only=True)
class FolderScan:
    """Result of a search.

    Attributes:
        entries: in order.
        skipped: file -> reason, of the first MAX_NAMED.
        notes: lines for the report.
        passed: kind of what else was passed over -> count.
        options: of reading, that were settled by what the files look like, name -> value.
    """

    entries: list[Entry]
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)
    options: dict[str, Any] = field(default_factory=dict)

    def skip(self, file: object, reason: str) -> None:
        """Skip a file.

        Args:
            file: path, or `Member` of a shard.
            reason: in a few words.
        """
        if len(self.skipped) < MAX_NAMED:
            self.skipped[printable(str(file))] = reason
        else:
            count(self.passed, f"more skipped ({reason})")


def stamp(file: File) -> list[Any]:
    """Return values that change with the file: [suffix, bytes, modification time in ns], of a `Member` its `stamp`."""
    if isinstance(file, Member):
        return file.stamp
    stat = file.stat()
    return [file.suffix, stat.st_size, stat.st_mtime_ns]


def size(file: File) -> int:
    """Return the size of a file (path or `Member` of a shard) in bytes."""
    return file.size if isinstance(file, Member) else file.stat().st_size


def at_path(file: File) -> AbstractContextManager[Path]:
    """Provide a `Path` to a file during the `with` block: its own, or for a `Member` a temporary copy."""
    return file.unpacked() if isinstance(file, Member) else nullcontext(file)


def accepted(file: File, modalities: Sequence[Modality]) -> Modality | None:
    """Find the modality of a file by its suffix.

    Args:
        file: path, or `Member` of a shard.
        modalities: in order of precedence.

    Returns:
        The first `Modality` that reads files of this suffix, or None.
    """
    return next((m for m in modalities if m.accepted_suffix(file.name)), None)


def matched(
    name: str,
    label: str | None,
    files: Iterable[File],
    modalities: Sequence[Modality],
    skip: Callable[[File, str], None],
) -> Entry | None:
    """Combine the files of one stem into an entry.

    Args:
        name: of the entry.
        label: of the entry.
        files: paths, or `Member`s of a shard, of the stem.
        modalities: each a `Modality`, all of which are needed.
        skip: called with each file that is left over, and the reason.

    Returns:
        An `Entry`, with the file of the first accepted suffix of each modality; None where a modality has no file.
    """
    candidates: dict[str, list[File]] = {}
    for file in files:
        modality = accepted(file, modalities)
        if modality is not None:
            candidates.setdefault(modality.name, []).append(file)
    missing = [m.name for m in modalities if m.name not in candidates]
    if missing:
        reason = f"no {' or '.join(missing)} file of the same stem"
        for file in (file for group in candidates.values() for file in group if file.suffix.lower() != JSON):
            skip(file, reason)
        return None
    for modality in modalities:
        first, *others = candidates[modality.name] = sorted(candidates[modality.name], key=_rank(modality))
        for file in others:
            if file.suffix.lower() != JSON:
                skip(file, f"the {modality.accepted_suffix(first.name)} file of the same stem is used")
    return Entry(name=name, files={m: group[0] for m, group in candidates.items()}, label=label)


def _rank(modality: Modality) -> Callable[[File], tuple[int, int, str]]:
    """Sort key: by suffix, then by fewer dots: of `a.png` and `a.mask.png` in a shard, the picture is `a.png`."""
    order = modality.suffixes.index
    return lambda file: (order(modality.accepted_suffix(file.name)), file.name.count("."), str(file))
