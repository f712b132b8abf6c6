"""Atomic writes (a temporary file renamed over the target) and reads restricted to regular files."""

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
    """Return the absolute path of the cache folder: $HELICON_CACHE, or `helicon` in the user's cache.

    The folder need not exist.
    """
    if named := os.environ.get("HELICON_CACHE"):
        return Path(named).absolute()
    base = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "helicon"


def default_cache() -> Path:
    """Create the folder of `cache_path` if necessary and return its path; it is the user's and closed to others.

    Raises:
        NotPrivateError: the folder belongs to another user, or others can write to it.
    """
    return private_folder(cache_path())


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the path of a temporary file beside `path`, of the same suffix, which is renamed to `path` after the block.

    Parent folders are created and cleared of temporary files of killed processes. After an error the target is
    unchanged and the temporary file is removed.

    Raises:
        OSError: the file cannot be written; the error names the target.
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
    """Write bytes to a file, atomically.

    Args:
        path: path of the file.
        data: content of the file, as bytes.
    """
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write text as UTF-8, atomically; newlines are the same on every system.

    Args:
        path: path of the file.
        text: its content.
    """
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | os.PathLike[str], obj: object) -> None:
    """Write an object as JSON with sorted keys, atomically; equal objects give equal bytes.

    Args:
        path: path of the file.
        obj: object that `json` can serialise.

    Raises:
        ValueError: the object holds NaN or infinity, which JSON does not have.
    """
    write_text(path, json_text(obj, sort_keys=True) + "\n")


def json_text(obj: object, sort_keys: bool = False, indent: int | None = 1) -> str:
    r"""Format an object as readable JSON: letters as they are; control, direction and surrogate characters as \uXXXX.

    Args:
        obj: serialisable by `json`.
        sort_keys: sort the keys of objects.
        indent: spaces per level; None for a single line.

    Returns:
        The text, without a newline at its end.

    Raises:
        ValueError: the object holds NaN or infinity, which JSON does not have.
    """
    text = json.dumps(obj, indent=indent, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False)
    return re.sub(r"[^\n -~]", lambda match: match[0] if match[0].isprintable() else json.dumps(match[0])[1:-1], text)


def open_regular(path: str | os.PathLike[str], links: bool = True) -> BufferedReader:
    """Open a regular file for reading; a FIFO, device or socket is neither waited for nor read.

    Args:
        path: path of the file.
        links: True to accept a symbolic link to a regular file; never for files in a folder from elsewhere.

    Returns:
        The open file, a reader in binary mode.

    Raises:
        OSError: `path` is not a regular file or does not exist; the error names it.
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
    """Read all bytes of a regular file.

    Args:
        path: path of the file.
        most: greatest accepted size in bytes.
        links: True to accept a symbolic link to a regular file.

    Returns:
        The content as bytes.

    Raises:
        OSError: the file is larger than `most`, is not a regular file, or does not exist.
    """
    with open_regular(path, links) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"{size:,} bytes; at most {most:,} are read", os.fspath(path))
        # No more than the size: room is made for what is asked for, and files of /proc that have none may never end
        return file.read(size)


def check_folder(folder: str | os.PathLike[str], named: bool = True, most: int = 1000) -> None:
    """Check that a folder, possibly from elsewhere, directly holds nothing but files and folders.

    Args:
        folder: path of the folder to check; its subfolders are not entered.
        named: True if the user named the folder, so that it may itself be a symbolic link.
        most: greatest accepted number of entries.

    Raises:
        OSError: an entry is something else, such as a symbolic link, pipe or device; the error names it.
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
