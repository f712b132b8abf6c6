"""Advisory lock of a folder for one writer at a time; it ends with its process, even a killed one."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from io import FileIO
from pathlib import Path
from weakref import WeakSet

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"  # of the file in the folder
IN_USE = "another process or thread is writing to this folder"
# Those of this process, whose threads the system's locks do not keep from each other: one who opens and closes the file
# of another's even sets it free
_held: WeakSet[FolderLock] = WeakSet()
_changing = threading.Lock()


class FolderInUse(OSError):
    """Another process or thread holds the folder's lock."""


class FolderLock:
    """Lock of an existing folder: a locked file in the folder, removed on release.

    On file systems without locks nothing is excluded.
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
        """Take the lock without waiting.

        Raises:
            FolderInUse: another process or thread holds it.
            OSError: the lock file cannot be created.
        """
        with _changing:
            while self._file is None:
                if any(_is_at(self.path, lock._file) for lock in _held):
                    raise FolderInUse(f"{self.path.parent}: {IN_USE}")
                file = FileIO(os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644), "r+")
                try:
                    _lock(file)
                except (BlockingIOError, PermissionError):
                    file.close()
                    raise FolderInUse(f"{self.path.parent}: {IN_USE}") from None
                except OSError:  # no locks here
                    pass
                if _is_at(self.path, file):
                    self._file = file
                    _held.add(self)
                else:  # the one who had it has removed its file meanwhile
                    file.close()

    def is_held(self) -> bool:
        """Return True while the folder exists with this lock in it; False once it was moved, removed or replaced."""
        return _is_at(self.path, self._file)

    def release(self) -> None:
        """Release the lock, if held, and remove its file."""
        with _changing:
            file, self._file = self._file, None
            if file is None:
                return
            _held.discard(self)
            if fcntl is None:  # an open file cannot be removed
                file.close()
            with suppress(OSError):
                if fcntl is None or _is_at(self.path, file):
                    self.path.unlink()
            file.close()


def _is_at(path: Path, file: FileIO | None) -> bool:
    """Return True if the open file is the file at this path."""
    try:
        return file is not None and os.path.samestat(os.fstat(file.fileno()), os.lstat(path))
    except OSError:
        return False


def _lock(file: FileIO) -> None:
    # POSIX locks rather than flock: children that a fork leaves behind must not go on holding them
    if fcntl is not None:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
