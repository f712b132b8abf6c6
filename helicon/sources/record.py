"""Record of a place in the cache, beside what was brought from it: only a complete one has a record."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from helicon.formats.files import default_cache, write_json
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.formats.quantities import quantity
from helicon.sources.places import key_of, shown

DOWNLOADS = "downloads"  # folder of the cache
RECORD, FILES, PARTS = "source.json", "files", "parts"  # in the folder of a place: record, complete and partial files
MAX_RECORDED = 1000  # files that were not to be had, with their reasons

Log = Callable[[str], None]  # takes a message of one line


@dataclass(kw_only=True)
class Record:
    """Record of a place that was brought.

    Attributes:
        place: as the user named it.
        files: name -> size in bytes of each file.
        single: the place is one file rather than a folder.
        gone: name of a file that the server does not give -> reason, of the first MAX_RECORDED.
        passed: kind of what else was left out -> count.
    """

    place: str
    files: dict[str, int]
    single: bool = False
    gone: dict[str, str] = field(default_factory=dict)
    passed: Mapping[str, int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return the lines of a report: how much has come, and what has not."""
        size = sum(self.files.values()) / 1e6
        lines = [f"source     {shown(self.place)}: {quantity(len(self.files), 'file')}, {size:,.1f} MB"]
        if self.gone:
            name, reason = next(iter(self.gone.items()))
            first = f"{printable(name, MAX_QUOTED)} ({printable(reason, MAX_QUOTED)})"
            lines.append(f"passed over: {quantity(len(self.gone), 'file')} that could not be had, such as {first}")
        if self.passed:
            kinds = sorted(self.passed.items(), key=lambda item: (-item[1], item[0]))
            lines.append("passed over: " + ", ".join(f"{n:,} {printable(kind, MAX_QUOTED)}" for kind, n in kinds))
        return lines

    def path(self, folder: Path) -> Path:
        """Return the path of what was brought to the place's `folder`: a file, or the folder of all files."""
        return folder / FILES / next(iter(self.files)) if self.single else folder / FILES

    def save(self, folder: Path) -> None:
        """Write the record to the place's `folder`, which makes it complete."""
        write_json(folder / RECORD, {**asdict(self), "gone": dict(list(self.gone.items())[:MAX_RECORDED])})


def folder_of(place: str, cache: Path | None = None) -> Path:
    """Name the folder of a place in the cache.

    Args:
        place: as in `local_path`.
        cache: folder of caches; the user's unless given.

    Returns:
        Path of the folder, which need not exist.
    """
    return (cache or default_cache()) / DOWNLOADS / key_of(place)


def read_record(folder: Path) -> Record | None:
    """Return the `Record` in the folder of a place; None while it is not complete, or where a file is missing."""
    try:
        record = Record(**json.loads((folder / RECORD).read_text("utf-8")))
        sizes = record.files.items()
        complete = bool(sizes) and all((folder / FILES / name).stat().st_size == size for name, size in sizes)
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return record if complete else None
