"""Tar shards of a source, grouped to units of a useful size, in an order that depends on their names alone."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from helicon.data.entries import DataError
from helicon.data.folders import walk
from helicon.data.shards import COMPRESSED_SUFFIXES, SUFFIX
from helicon.data.split import hash_fraction
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.formats.quantities import quantity
from helicon.sources.places import is_elsewhere
from helicon.sources.shards import remote_shards

# Shards below this size are taken together, so that examples are mixed among enough others; 32 MiB are some hundred
# photographs or ten million tokens of text
UNIT_BYTES = 32 << 20


class Shard(Protocol):
    """Tar file, on this disk or elsewhere."""

    @property
    def name(self) -> str:
        """Path within the source, with its suffix, by which examples are named."""
        ...

    @property
    def stamp(self) -> Any:
        """JSON-able values that change with the content."""
        ...

    @property
    def size(self) -> int:
        """Size in bytes."""
        ...

    def local(self) -> Any:
        """Make a context manager that provides the `Path` of the file on this disk."""
        ...


@dataclass(frozen=True)
class LocalShard:
    """Tar file on this disk.

    Attributes:
        name: path within its folder.
        path: of the file.
        stamp: size in bytes, and time of its last change in nanoseconds.
    """

    name: str
    path: Path
    stamp: tuple[int, int]

    @property
    def size(self) -> int:
        return self.stamp[0]

    @contextmanager
    def local(self) -> Iterator[Path]:
        self.path.stat()  # says that it is gone, before it is taken for a damaged one
        yield self.path


@dataclass(frozen=True)
class Unit:
    """Shards that are tokenised and trained on together."""

    shards: tuple[Shard, ...]

    @cached_property
    def name(self) -> str:
        """Hash of the names of its shards, 16 hexadecimal digits: what its order and its random draws depend on."""
        return _digest([shard.name for shard in self.shards])

    @cached_property
    def key(self) -> str:
        """Hash of the names and the content of its shards, 16 hexadecimal digits."""
        return _digest([[shard.name, shard.stamp] for shard in self.shards])


def _digest(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def find_shards(root: Path | str, cache: Path | None = None) -> tuple[list[Shard], list[str]]:
    """Find the tar shards of a folder, searched recursively, or of a place elsewhere.

    Args:
        root: folder, or a single shard; or a URL of those.
        cache: folder of caches, where shards from elsewhere are while they are read; the user's unless given.

    Returns:
        (shards in an order by the hash of their names, lines for the report).

    Raises:
        DataError: there is none.
        SourceError: a place that cannot be read.
    """
    if isinstance(root, str) and is_elsewhere(root):
        remote, gone = remote_shards(root, cache)
        missing = f", such as {printable(gone[0], MAX_QUOTED)}" if gone else ""
        return in_order(remote), [f"passed over: {quantity(len(gone), 'shard')}{missing}"] if gone else []
    root = Path(root)
    if not root.exists():
        raise DataError(f"{root}: no such file or folder")
    others, compressed = 0, 0

    def take(entry: os.DirEntry[str]) -> bool:
        nonlocal others, compressed
        name = entry.name.lower()
        compressed += name.endswith(COMPRESSED_SUFFIXES)
        others += not name.endswith((SUFFIX, *COMPRESSED_SUFFIXES))
        return name.endswith(SUFFIX)

    names = ["/".join(parts) for parts in walk(root, take).files] if root.is_dir() else []
    if not root.is_dir() and root.name.lower().endswith(SUFFIX):
        names = [root.name]
    base = root if root.is_dir() else root.parent
    shards: list[Shard] = []
    for name in names:
        stat = (base / name).stat()
        shards.append(LocalShard(name, base / name, (stat.st_size, stat.st_mtime_ns)))
    passed = [f"{n:,} {kind}" for n, kind in ((others, "other files"), (compressed, "compressed shards")) if n]
    if not shards:
        seen = f"; passed over: {', '.join(passed)}" if passed else ""
        raise DataError(
            f"{printable(root, MAX_QUOTED)}: no tar shards, which --data.stream true reads; a folder of .tar files is "
            f"accepted{seen}"
        )
    notes = [f"passed over: {', '.join(passed)}, which --data.stream true does not read"] if passed else []
    return in_order(shards), notes


def in_order(shards: Iterable[Shard]) -> list[Shard]:
    """Sort shards by the hash of their names: of a source sorted by kind, the first ones are like the others."""
    return sorted(shards, key=lambda shard: (hash_fraction(shard.name), shard.name))


def units_of(shards: Iterable[Shard]) -> list[Unit]:
    """Group consecutive shards to `Unit`s of UNIT_BYTES or more; a larger shard is a unit by itself."""
    units, group, taken = [], [], 0
    for shard in shards:
        group.append(shard)
        taken += shard.size
        if taken >= UNIT_BYTES:
            units.append(Unit(tuple(group)))
            group, taken = [], 0
    return [*units, Unit(tuple(group))] if group else units


def stem(shard: Shard) -> PurePosixPath:
    """Return the path of a `Shard` within its source without the suffix, with which names of its examples begin."""
    return PurePosixPath(shard.name).with_suffix("")
