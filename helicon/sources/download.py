"""Downloads that go on where they broke off: a file is complete when it has its name, and partial until then."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from threading import Event, Lock
from typing import Any

from fsspec.spec import AbstractFileSystem

from helicon.formats.files import write_json
from helicon.formats.progress import bar
from helicon.sources.places import RemoteFile, SourceError, shown
from helicon.sources.remote import Broken, Changed, Gone, Reading

WAITS_S = (1.0, 4.0, 15.0)  # seconds before each further try; all of them again after a try that brought more
AT_ONCE = 8  # files that are downloaded at a time: small ones cost a round trip each


@dataclass(kw_only=True)
class Counts:
    """Progress of several downloads, of all threads.

    Attributes:
        files: to download.
        known: sizes in bytes of the files that have begun.
        done: bytes so far, those of an earlier start included.
        stop: set to end all downloads soon.
    """

    files: int
    known: list[int] = field(default_factory=list)
    done: int = 0
    stop: Event = field(default_factory=Event)
    _lock: Lock = field(default_factory=Lock)

    def add(self, size: int) -> None:
        """Count bytes that have come."""
        with self._lock:
            self.done += size

    def begin(self, size: int | None) -> None:
        """Take the size of a file, in bytes, into the estimate of all; None counts for nothing."""
        with self._lock:
            self.known += [] if size is None else [size]

    @property
    def total(self) -> int:
        """Estimate of the bytes of all files, by the mean of those that have begun."""
        return max(self.done, sum(self.known) * self.files // max(1, len(self.known)))


def download_all(server: AbstractFileSystem, files: Sequence[RemoteFile], folder: Path, parts: Path) -> dict[str, str]:
    """Download files to a folder, several at a time; those that are there are not downloaded again.

    Args:
        server: `AbstractFileSystem` of the files.
        files: `RemoteFile`s, whose names are their paths in the folder.
        folder: path of it.
        parts: path of the folder of partial files.

    Returns:
        Name of each file that the server does not give -> reason.

    Raises:
        SourceError: a file broke off again and again; the same call goes on from there.
        OSError: the disk is full or cannot be written.
    """
    wanted = [file for file in files if not (folder / file.name).is_file()]
    counts, gone = Counts(files=len(wanted)), {}
    parts.mkdir(parents=True, exist_ok=True)
    with bar(of="downloading", unit="MB", total=0) as shown_bar, ThreadPoolExecutor(AT_ONCE) as pool:
        begun = {pool.submit(_brought, server, file, folder, parts, counts): file for file in wanted}
        try:
            for future in as_completed(begun):
                try:
                    future.result()
                except Gone as reason:
                    gone[begun[future].name] = str(reason)
                except Broken as reason:
                    there = (
                        f"{sum((folder / file.name).is_file() for file in files):,} of {len(files):,} files are there"
                    )
                    again = f"{there}, and the same command goes on from here"
                    raise SourceError(f"{shown(begun[future].url)}: broke off: {reason}; {again}") from None
                shown_bar.total = counts.total >> 20
                shown_bar.update((counts.done >> 20) - shown_bar.n)
        except BaseException:
            counts.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return dict(sorted(gone.items()))


def _brought(server: AbstractFileSystem, file: RemoteFile, folder: Path, parts: Path, counts: Counts) -> None:
    """Download a file, with tries."""
    partial = parts / hashlib.sha256(file.url.encode("utf-8", "surrogateescape")).hexdigest()[:40]
    download(server, file.url, folder / file.name, partial, counts)


def download(
    server: AbstractFileSystem, url: str, target: Path, partial: Path, counts: Counts | None = None
) -> None:  # fmt: skip
    """Download a file; what breaks off is tried again, from the byte that it broke off at.

    Its time of modification is a function of what the server says of the file, so that another download is the same.

    Args:
        server: `AbstractFileSystem` of the file.
        url: of the file.
        target: path of the complete file; its folder is made.
        partial: path of the partial file, kept for another start.
        counts: `Counts` of all downloads.

    Raises:
        Gone: the server does not give the file.
        Broken: it broke off again and again.
        OSError: the disk is full or cannot be written.
    """
    counts = counts or Counts(files=1)
    furthest, waits = -1, iter(WAITS_S)
    while True:
        try:
            stamp = _fetch(server, url, partial, counts)
            break
        except Broken:
            reached = partial.stat().st_size if partial.exists() else 0
            if reached > furthest >= 0:
                waits = iter(WAITS_S)
            furthest = max(furthest, reached)
            wait = next(waits, None)
            if wait is None or counts.stop.wait(wait):
                raise
    modified = _modified(stamp)
    os.utime(partial, (modified, modified))
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(partial, target)
    _stamp_file(partial).unlink(missing_ok=True)


def _fetch(server: AbstractFileSystem, url: str, partial: Path, counts: Counts) -> dict[str, Any]:
    """Read the rest of a partial file once, and return the file's stamp; Broken if it does not come to its end."""
    stamp, start = _begun(partial)
    if start and start == stamp["size"]:
        return stamp
    try:
        reading = Reading(server, url, start)
        if reading.first and reading.stamp != stamp:
            reading.close()
            raise Changed("changed while it was downloaded")
    except Changed:
        partial.unlink()
        raise
    with reading:
        write_json(_stamp_file(partial), reading.stamp)
        counts.begin(reading.size)
        counts.add(reading.first)
        size = reading.first
        with partial.open("r+b" if reading.first else "wb") as file:
            file.truncate(reading.first)
            file.seek(reading.first)
            for data in reading.chunks():
                file.write(data)
                size += len(data)
                counts.add(len(data))
                if counts.stop.is_set():
                    raise Broken("stopped")
            file.flush()
            os.fsync(file.fileno())
        if reading.size is not None and size != reading.size:
            raise Broken(f"ends at byte {size:,} of {reading.size:,}")
        return reading.stamp


def _begun(partial: Path) -> tuple[dict[str, Any], int]:
    """Return the stamp and the size of a partial file; ({}, 0) for none."""
    with suppress(OSError, ValueError):
        stamp = json.loads(_stamp_file(partial).read_text("utf-8"))
        start, size = partial.stat().st_size, stamp["size"]
        if size is not None and start <= size:  # else nobody knows whether it is complete
            return stamp, start
    return {"size": None}, 0


def _stamp_file(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _modified(stamp: dict[str, Any]) -> int:
    """Return a time of modification, seconds since 1970, that is a function of a stamp: the server's, or a hash."""
    with suppress(KeyError, TypeError, ValueError, OverflowError):
        return max(0, int(parsedate_to_datetime(stamp["Last-Modified"]).timestamp()))
    digest = hashlib.sha256(json.dumps(stamp, sort_keys=True).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1  # within 31 bits, which every file system has
