"""Files that appear whole or not at all: written beside the target and renamed over it. Only regular ones are read."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from helicon.formats.private import private_folder
from helicon.formats.temporary import clear_once, remove_temporary, temporary_path


def cache_path() -> Path:
    """$HELICON_CACHE, or `helicon` in the user's cache folder, from the root on; it need not be there."""
    if named := os.environ.get("HELICON_CACHE"):
        return Path(named).absolute()
    base = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "helicon"


def default_cache() -> Path:
    """The folder of the cache, made where it is not there: one's own, and closed to others.

    Raises:
        NotPrivateError: somebody else owns it, or can write to it.
    """
    return private_folder(cache_path())


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A new path beside `path`, of the same suffix, for the block to write; it takes the target's name on success.

    Parent folders are made, and rid of what killed processes were writing there. After an error the target is as it was
    and the temporary file is gone; an OSError names the target.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    clear_once(target.parent.absolute())
    # The suffix is kept because writers of sound and pictures choose the format by it.
    temporary = temporary_path(target)
    try:
        yield temporary
        _flush_to_disk(temporary)
        os.replace(temporary, target)
    except OSError as error:
        if error.errno is None:  # a library's
            full = re.search(r"requested and \d+ written", str(error))  # which is how NumPy says it
            code, reason = (errno.ENOSPC, os.strerror(errno.ENOSPC)) if full else (errno.EIO, str(error))
            raise OSError(code, reason, os.fspath(target)) from error
        if error.filename is None or os.fspath(error.filename) == os.fspath(temporary):
            # A full disk says nothing of what was written
            raise OSError(error.errno, error.strerror, os.fspath(target)) from error
        raise
    finally:
        remove_temporary(temporary)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes `data` to `path`, atomically."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes `text` to `path` as UTF-8 with its newlines as they are on every system, atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | os.PathLike[str], obj: object) -> None:
    """Writes `obj` to `path` as JSON, atomically: sorted keys, so equal objects give equal bytes.

    ValueError for NaN and infinity, which JSON does not have.
    """
    write_text(path, json_text(obj, sort_keys=True) + "\n")


def json_text(obj: object, sort_keys: bool = False, indent: int | None = 1) -> str:
    """JSON for people: letters as they are; what a terminal obeys, direction marks and lone surrogates as \\uXXXX.

    ValueError for NaN and infinity, which JSON does not have.
    """
    text = json.dumps(obj, indent=indent, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False)
    return re.sub(r"[^\n -~]", lambda match: match[0] if match[0].isprintable() else json.dumps(match[0])[1:-1], text)


def open_regular(path: str | os.PathLike[str], links: bool = True) -> BufferedReader:
    """Opens a regular file for reading. A FIFO, device or socket is neither waited for nor read.

    Args:
        path: of the file.
        links: whether the file may be a symbolic link to a regular file; never in a folder that came from elsewhere.

    Raises:
        OSError: with the file's name, for anything else than a regular file, and where there is none.
    """
    path = os.fspath(path)
    _check_regular(path, (os.stat if links else os.lstat)(path))
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    descriptor = os.open(path, flags | (0 if links else getattr(os, "O_NOFOLLOW", 0)))
    try:
        _check_regular(path, os.fstat(descriptor))  # once more, as it may have been replaced in between
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | os.PathLike[str], most: int, links: bool = True) -> bytes:
    """All bytes of a regular file; OSError for one of more than `most` bytes, and as `open_regular`."""
    with open_regular(path, links) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"{size:,} bytes; at most {most:,} are read", os.fspath(path))
        # No more than the size: room is made for what is asked for, and files of /proc that have none may never end
        return file.read(size)


def check_folder(folder: str | os.PathLike[str], named: bool = True, most: int = 1000) -> None:
    """Checks that a folder which may come from elsewhere holds files and folders alone, directly in it.

    Args:
        folder: to look into.
        named: whether somebody has named it, so that it may itself be a symbolic link.
        most: files and folders that it may hold.

    Raises:
        OSError: that names what is something else, such as a symbolic link, a pipe or a device.
    """
    path = os.fspath(folder)
    if not stat.S_ISDIR((os.stat if named else os.lstat)(path).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "no folder, or a symbolic link to one", path)
    with os.scandir(path) as entries:
        for number, entry in enumerate(entries):
            if number >= most:
                raise OSError(errno.EFBIG, f"holds more than {most:,} files", path)
            if entry.is_symlink() or not (entry.is_dir() or entry.is_file()):
                kind = "a symbolic link" if entry.is_symlink() else "a device, pipe or socket"
                raise OSError(errno.EINVAL, f"{kind}, only files and folders are accepted here", entry.path)


def _check_regular(path: str, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not stat.S_ISREG(status.st_mode):
        kind = "a symbolic link" if stat.S_ISLNK(status.st_mode) else "a device, pipe or socket"
        raise OSError(errno.EINVAL, f"{kind}, only regular files are opened here", path)


def _flush_to_disk(path: Path) -> None:
    # Opened for writing because Windows refuses to flush a file that is open for reading only.
    with path.open("r+b") as file:
        os.fsync(file.fileno())
