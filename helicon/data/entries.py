"""What an example is before it is read: the files and texts that belong together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from helicon.data.shards import Member
from helicon.formats.printable import printable
from helicon.modalities.base import Modality

File = Path | Member


class DataError(ValueError):
    """A folder or manifest that cannot be trained on; the message names it and says what would be accepted."""


class Side(NamedTuple):
    """One of a pair that a manifest lists. pair: its name. chosen: whether it was preferred to the other."""

    pair: str
    chosen: bool


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One example: name relative to the root without suffix, a file for each modality, label, texts of a manifest.

    side: of the pair that it is one of, if it is.
    """

    name: str
    files: dict[str, File]
    label: str | None = None
    texts: tuple[str, ...] = ()
    side: Side | None = None

    @property
    def stamps(self) -> list[Any]:
        """What the token cache depends on: each file's suffix, size and time of change, label, texts and pair."""
        files = {m: stamp(file) for m, file in sorted(self.files.items())}
        return [self.name, files, self.label, self.texts, self.side]


@dataclass
class FolderScan:
    """Entries in order of name, the files that were passed over with the reason, and lines for the report."""

    entries: list[Entry]
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def stamp(file: File) -> list[Any]:
    """What changes when a file does."""
    if isinstance(file, Member):
        return file.stamp
    stat = file.stat()
    return [file.suffix, stat.st_size, stat.st_mtime_ns]


def size(file: File) -> int:
    """Bytes of a file."""
    return file.size if isinstance(file, Member) else file.stat().st_size


def at_path(file: File) -> AbstractContextManager[Path]:
    """Where a file can be read for the time of the block: where it is, or copied out of its shard."""
    return file.unpacked() if isinstance(file, Member) else nullcontext(file)


def accepted(file: File, modalities: Sequence[Modality]) -> Modality | None:
    """The modality that reads files of that suffix."""
    return next((m for m in modalities if file.suffix.lower() in m.suffixes), None)


def matched(
    name: str, label: str | None, files: Iterable[File], modalities: Sequence[Modality], skipped: dict[str, str]
) -> Entry | None:
    """The example that files of one stem make, or None where a modality has none; what is left over goes to `skipped`.

    Of several files for a modality, the one is taken whose suffix comes first in the modality.
    """
    found: dict[str, list[File]] = {}
    for file in files:
        modality = accepted(file, modalities)
        if modality is not None:
            found.setdefault(modality.name, []).append(file)
    missing = [m.name for m in modalities if m.name not in found]
    if missing:
        reason = f"no {' or '.join(missing)} file of the same stem"
        skipped.update({printable(str(file)): reason for group in found.values() for file in group})
        return None
    for modality in modalities:
        first, *others = found[modality.name] = sorted(found[modality.name], key=_rank(modality))
        skipped.update({printable(str(file)): f"the {first.suffix} file of the same stem is used" for file in others})
    return Entry(name=name, files={m: group[0] for m, group in found.items()}, label=label)


def _rank(modality: Modality) -> Callable[[File], tuple[int, int, str]]:
    """By suffix, then the plainer name first: of `a.png` and `a.mask.png` in a shard, the picture is `a.png`."""
    return lambda file: (modality.suffixes.index(file.suffix.lower()), file.name.count("."), str(file))
