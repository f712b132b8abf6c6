"""A folder that one process at a time writes to: an advisory lock that ends with the process, however that ends."""

from __future__ import annotations

import os
from contextlib import suppress
from io import FileIO
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"


class FolderInUse(OSError):
    """Another process holds the lock of a folder."""


class FolderLock:
    """Lock of an existing folder, held by way of a file in it that is removed when it is released.

    Where a file system has no locks, nothing is excluded.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._file: FileIO | None = None

    def __enter__(self) -> FolderLock:
        self.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()

    def acquire(self) -> None:
        """FolderInUse where another process has it; another OSError where no file can be made."""
        while self._file is None:
            file = FileIO(os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644), "r+")
            try:
                _lock(file)
            except (BlockingIOError, PermissionError):
                file.close()
                raise FolderInUse(f"{self.path.parent}: another process is writing to this folder") from None
            except OSError:  # no locks here
                pass
            if self._is_at_path(file):
                self._file = file
            else:  # the one who had it has removed its file meanwhile
                file.close()

    def is_held(self) -> bool:
        """Whether the folder is still there, with this lock in it; False once it was moved, removed or replaced."""
        return self._file is not None and self._is_at_path(self._file)

    def release(self) -> None:
        """Gives the folder free, if it was held."""
        file, self._file = self._file, None
        if file is None:
            return
        if fcntl is None:  # an open file cannot be removed
            file.close()
        with suppress(OSError):
            if fcntl is None or self._is_at_path(file):
                self.path.unlink()
        file.close()

    def _is_at_path(self, file: FileIO) -> bool:
        try:
            return os.path.samestat(os.fstat(file.fileno()), os.lstat(self.path))
        except OSError:
            return False


def _lock(file: FileIO) -> None:
    # POSIX locks rather than flock: children that a fork leaves behind must not go on holding them
    if fcntl is not None:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
