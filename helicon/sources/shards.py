"""Tar shards of a place that is elsewhere, each brought for the time that it is read, and then removed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fsspec.spec import AbstractFileSystem

from helicon.formats.files import default_cache
from helicon.formats.temporary import clear_once, remove_temporary, temporary_path
from helicon.sources.download import WAITS_S, download
from helicon.sources.local import SHARD, find_files
from helicon.sources.places import RemoteFile, SourceError, shown
from helicon.sources.remote import Broken, Gone, Reading, open_server

ASKED_AT_ONCE = 16  # shards whose sizes are asked for at a time: each costs a round trip


@dataclass(frozen=True, kw_only=True)
class RemoteShard:
    """Tar file of a server.

    Attributes:
        server: `AbstractFileSystem` of the file.
        url: of the file.
        name: path within its place.
        stamp: values that change with the content, as far as the server gives any.
        size: in bytes; 0 if the server does not say.
        cache: folder in which it is while it is read; the user's cache unless given.
    """

    server: AbstractFileSystem
    url: str
    name: str
    stamp: dict[str, Any]
    size: int
    cache: Path | None

    @contextmanager
    def local(self) -> Iterator[Path]:
        """Provide the path of a copy, which is removed afterwards.

        Raises:
            OSError: it cannot be brought, or not be written.
        """
        folder = self.cache or default_cache()
        folder.mkdir(parents=True, exist_ok=True)
        clear_once(folder)
        target, partial = temporary_path(folder / "shard.tar"), temporary_path(folder / "shard.part")
        try:
            try:
                download(self.server, self.url, target, partial)
            except (Gone, Broken) as error:
                raise OSError(str(error)) from error
            yield target
        finally:
            for path in (target, partial, partial.with_name(f"{partial.name}.json")):
                remove_temporary(path)


@lru_cache(maxsize=8)
def remote_shards(place: str, cache: Path | None = None) -> tuple[list[RemoteShard], list[str]]:
    """List the tar shards of a place; none is brought. A process asks a place once.

    Args:
        place: URL of a shard or folder, or with braces.
        cache: folder in which shards are while they are read; the user's cache unless given.

    Returns:
        (`RemoteShard`s in order of their names, names of those that the server does not give).

    Raises:
        SourceError: no such place, or no shard in it.
    """
    server = open_server(place)
    files = [file for file in find_files(server, place)[0].files if file.name.lower().endswith(SHARD)]
    if not files:
        raise SourceError(f"{shown(place)}: no tar shards, which --data.stream true reads")
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        asked = list(pool.map(lambda file: _stamp(server, file), files))
    shards, gone = [], []
    for file, stamp in zip(files, asked):
        if isinstance(stamp, Gone):
            gone.append(f"{file.name}: {stamp}")
        else:
            size = stamp["size"] or 0
            shards.append(RemoteShard(server=server, url=file.url, name=file.name, stamp=stamp, size=size, cache=cache))
    if not shards:
        raise SourceError(f"{shown(place)}: none of {len(gone):,} shards could be had, {gone[0]}")
    return shards, gone


def _stamp(server: AbstractFileSystem, file: RemoteFile) -> dict[str, Any] | Gone:
    """Return the stamp of a file, or why the server does not give it; SourceError where it does not answer."""
    for seconds in (*WAITS_S, None):
        try:
            with Reading(server, file.url) as reading:
                return reading.stamp
        except Gone as error:
            return error
        except Broken as error:
            if seconds is None:
                raise SourceError(f"{shown(file.url)}: {error}") from None
            time.sleep(seconds)
    raise AssertionError("the last try returns or raises")
