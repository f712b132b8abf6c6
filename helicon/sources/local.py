"""A place as a local path: what is elsewhere is brought to a folder of the cache once, and never asked for again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fsspec.spec import AbstractFileSystem

from helicon.formats.folder_lock import FolderInUse, FolderLock
from helicon.formats.progress import log as log_progress
from helicon.formats.quantities import quantity
from helicon.sources.download import download_all
from helicon.sources.kinds import COMPRESSED, SHARD, is_read, kind_of, suffixes
from helicon.sources.places import FORMS, HTTP, AnyPlace, SourceError, as_place, files_named, is_rows, scheme_of, shown
from helicon.sources.record import FILES, PARTS, Log, Record, folder_of, read_record
from helicon.sources.remote import Broken, Gone, Listing, list_folder, open_server
from helicon.sources.rows import bring_rows, identity

POLL_S = 0.5  # between looks at whether another process is done


def local_path(place: AnyPlace, cache: Path | None = None, log: Log = log_progress) -> Path:
    """Return the local path of a place; what is elsewhere is brought to the cache, unless it was before.

    Args:
        place: path; URL of a file or folder, or with braces such as `https://HOST/train-{000..015}.tar`; or dataset of
            the Hugging Face hub, `hf:USER/DATASET[/CONFIG][:SPLIT]`.
        cache: folder of caches; the user's unless given.
        log: called with each message while it is brought.

    Returns:
        Path of a file or folder.

    Raises:
        SourceError: a place that cannot be read, or that broke off; what has come is kept.
        OSError: the disk is full or cannot be written.
    """
    place = as_place(place)
    if isinstance(place, Path):
        return place
    folder = _folder(place, cache)
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder, place, log):
        record = read_record(folder)
        if record is None:
            record = bring_rows(place, folder, log) if is_rows(place) else _bring(place, folder, log)
            record.save(folder)
    return record.path(folder)


def local_file(place: AnyPlace) -> Path:
    """Return the local path of one file, as `local_path` does; SourceError for a place elsewhere with several files."""
    path = local_path(place)
    if isinstance(as_place(place), str) and not path.is_file():
        raise SourceError(f"{shown(str(place))}: one file is needed here")
    return path


def source_notes(place: AnyPlace, cache: Path | None = None) -> list[str]:
    """Return the lines of a report on a place that was brought.

    Args:
        place: as in `local_path`.
        cache: folder of caches; the user's unless given.

    Returns:
        How much has come, and what was passed over; [] for a local path.
    """
    place = as_place(place)
    record = read_record(_folder(place, cache)) if isinstance(place, str) else None
    return record.lines() if record else []


def is_brought(place: AnyPlace, cache: Path | None = None) -> bool:
    """Check whether `local_path` would connect to a server.

    Args:
        place: as in `local_path`.
        cache: folder of caches; the user's unless given.

    Returns:
        True if it would not: the place is local, or was brought completely.
    """
    place = as_place(place)
    return isinstance(place, Path) or read_record(_folder(place, cache)) is not None


def _folder(place: str, cache: Path | None) -> Path:
    return folder_of(identity(place) if is_rows(place) else place, cache)


def _bring(place: str, folder: Path, log: Log) -> Record:
    """Download all files of a URL that are not there yet."""
    server = open_server(place)
    listing, single = find_files(server, place)
    log(f"downloading {shown(place)}: {quantity(len(listing.files), 'file')}")
    gone = download_all(server, listing.files, folder / FILES, folder / PARTS)
    sizes = {file.name: (folder / FILES / file.name).stat().st_size for file in listing.files if file.name not in gone}
    if not sizes:
        name, reason = next(iter(gone.items()))
        where = (
            shown(place) if single else f"{shown(place)}: none of {quantity(len(gone), 'file')} could be had, {name}"
        )
        raise SourceError(f"{where}: {reason}")
    return Record(place=place, files=sizes, single=single, gone=gone, passed=dict(listing.passed))


def find_files(server: AbstractFileSystem, place: str) -> tuple[Listing, bool]:
    """Find the files of a URL that Helicon may read, by their suffixes.

    Args:
        server: `AbstractFileSystem` of the place.
        place: URL of a file or folder, or with braces.

    Returns:
        `Listing` with at least one file, and True if the URL names one file rather than a folder.

    Raises:
        SourceError: no such place, or no file in it that is read.
    """
    files = files_named(place)
    if len(files) > 1 or "{" in place:
        return Listing(files), False
    if files and is_read(files[0].name):
        return Listing(files), True
    if files and files[0].name.lower().endswith(COMPRESSED):
        raise SourceError(f"{shown(place)}: compressed shard: refused; store it as plain {SHARD}")
    try:
        listing = list_folder(server, place)
    except Gone as reason:
        raise SourceError(f"{shown(place)}: {reason}") from None
    except Broken as reason:
        raise SourceError(f"{shown(place)}: {reason}; accepted are {FORMS}") from None
    passed = Counter(listing.passed)
    wanted = [file for file in listing.files if is_read(file.name)]
    passed.update(kind_of(file.name) for file in listing.files if not is_read(file.name))
    if not wanted:
        there = ", ".join(f"{n:,} {kind}" for kind, n in passed.most_common(5))
        what = f"only {there}" if passed else "no list of files" if scheme_of(place) in HTTP else "nothing"
        raise SourceError(f"{shown(place)}: {what} there; accepted are {SHARD} and {' '.join(sorted(suffixes()))}")
    return Listing(wanted, passed), False


@contextmanager
def _alone(folder: Path, place: str, log: Log) -> Iterator[None]:
    """Hold a folder's lock; another process that has it is waited for, as it brings the same."""
    lock, waiting = FolderLock(folder), False
    while True:
        try:
            lock.acquire()
            break
        except FolderInUse:
            if not waiting:
                log(f"waiting    for another process, which brings {shown(place)}")
            waiting = True
            time.sleep(POLL_S)
    try:
        yield
    finally:
        lock.release()
