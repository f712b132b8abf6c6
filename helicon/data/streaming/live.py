"""Temporary corpora of units on disk, shared by all processes that train on the same stream, and their batch counts.

A corpus is made by the first process that claims it, and removed by the last one that releases it. Claims are locks of
files, which end with their process.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from io import FileIO
from pathlib import Path

from helicon.data.corpus import Corpus, CorpusError, read_corpus
from helicon.formats.temporary import clear_abandoned, remove_temporary, temporary_path

try:
    import fcntl
except ImportError:  # Windows, where each process has corpora of its own
    fcntl = None  # type: ignore[assignment]

SHARED = fcntl is not None  # whether processes can share a folder
LOCK = ".lock"  # suffix of a corpus's lock file
COUNT = re.compile(rb"([0-9a-f]{16}) (\d{1,15}) batches\n")  # line of a file of counts; others were cut off by a crash


class LiveCorpora:
    """Folder of temporary corpora.

    Args:
        folder: of the corpora; made if necessary.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: dict[str, FileIO] = {}

    def open(self, name: str) -> Corpus | None:
        """Return the `Corpus` of a name, or None if it is not there, or no more."""
        try:
            return read_corpus(self.folder / name, check=False)
        except CorpusError:
            return None

    def names(self) -> list[str]:
        """Return the names of the corpora that this process holds."""
        return list(self._held)

    def hold(self, name: str, make: Callable[[Path], None]) -> bool:
        """Hold a corpus, so that no process removes it; make it if it is not there.

        Args:
            name: of the corpus.
            make: writes it to a folder.

        Returns:
            False while another process makes it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = self._lock(name)
        if lock is None and (self.folder / name).is_dir():
            lock = self._lock(name, shared=True)
        if lock is None:
            return False
        try:
            if not (self.folder / name).is_dir():
                self._make(name, make)
            _flock(lock, shared=True)
        except BaseException:
            self._remove(name)
            _unlock(lock)
            raise
        if not (self.folder / name).is_dir():  # removed in the moment between both kinds of lock
            _unlock(lock)
            return False
        self._held[name] = lock
        return True

    def release(self, name: str) -> None:
        """Release a corpus, and remove it unless another process holds it."""
        lock = self._held.pop(name)
        if _flock(lock):
            self._remove(name)
        _unlock(lock)

    def clear(self) -> None:
        """Remove the corpora that no process holds, left by killed ones."""
        for folder in (self.folder, self.folder.parent):  # signs of killed processes are beside it
            clear_abandoned(folder)
        with suppress(OSError):
            for path in sorted(self.folder.iterdir()):
                if path.is_dir() and not path.name.startswith(".") and path.name not in self._held:
                    lock = self._lock(path.name)
                    if lock is not None:
                        self._remove(path.name)
                        _unlock(lock)

    def _make(self, name: str, make: Callable[[Path], None]) -> None:
        building = temporary_path(self.folder / name)
        try:
            make(building)
            os.replace(building, self.folder / name)
        finally:
            remove_temporary(building)

    def _remove(self, name: str) -> None:
        # Under another name first, so that none is there in part
        going = temporary_path(self.folder / name)
        with suppress(OSError):
            os.replace(self.folder / name, going)
        shutil.rmtree(going, ignore_errors=True)
        remove_temporary(going)
        with suppress(OSError):
            (self.folder / f"{name}{LOCK}").unlink()

    def _lock(self, name: str, shared: bool = False) -> FileIO | None:
        """Return the locked lock file of a corpus; None while another process has it."""
        path = self.folder / f"{name}{LOCK}"
        file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
        with suppress(OSError):  # removed meanwhile
            if _flock(file, shared) and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file
        _unlock(file)
        return None


def _flock(file: FileIO, shared: bool = False) -> bool:
    """Lock a file for this process, or for all that share it, and return whether it could be done at once."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _unlock(file: FileIO) -> None:
    """Unlock and close a file. Closing alone would leave it locked while a forked loader process has it open, too."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_UN)
    file.close()


class BatchCounts:
    """File of the number of batches of each unit; grows by a line a unit, written by any process.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, int] = {}
        self._read = 0  # bytes

    def get(self, name: str) -> int | None:
        """Return the number of batches of a unit, by its key; None where it is not known."""
        if name not in self._known:
            self._read_more()
        return self._known.get(name)

    def add(self, name: str, count: int) -> None:
        """Write the number of batches of a unit.

        Args:
            name: key of the unit.
            count: number of batches, 0 where nothing in it can be read.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab", buffering=0) as file:
            file.write(f"\n{name} {count} batches\n".encode())  # at once, after a line that may have been cut off

    def _read_more(self) -> None:
        with suppress(FileNotFoundError), self.path.open("rb") as file:
            file.seek(self._read)
            before, end, _ = file.read().rpartition(b"\n")  # what follows is being written
            self._read += len(before) + len(end)
            for line in (before + end).splitlines(keepends=True):
                if match := COUNT.fullmatch(line):
                    self._known[match[1].decode()] = int(match[2])
