"""Names of files and folders that are being written, and the removal of those whose process was killed."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path


def _host() -> str:
    """Four digits of this machine, with which a folder may be shared with others, and of its numbers of processes.

    Containers count theirs anew, and may have one name.
    """
    namespace = Path("/proc/self/ns/pid")
    numbers = namespace.stat().st_ino if namespace.exists() else 0
    return f"{zlib.crc32(f'{platform.node()} {numbers}'.encode()) & 0xFFFF:04x}"


_HOST = _host()
_NAME = re.compile(r"\..*-([0-9a-f]{4})-(\d+)-[0-9a-f]{12}(\.\w+)?", re.DOTALL)
_OTHERS_S = 24 * 3600.0  # age from which a file of another machine is taken for abandoned
_ours: set[str] = set()  # paths that this process is writing


def temporary_path(target: Path) -> Path:
    """A hidden path beside `target`, of the same suffix, by which its writer can be known."""
    name = f".{target.stem[:40]}-{_HOST}-{os.getpid()}-{uuid.uuid4().hex[:12]}{target.suffix}"
    _ours.add(name)
    return target.with_name(name)


def remove_temporary(path: Path) -> None:
    """Removes what is left of a path by `temporary_path`, if anything is."""
    try:
        path.unlink(missing_ok=True)
    except OSError:  # a folder
        shutil.rmtree(path, ignore_errors=True)
    _ours.discard(path.name)


@contextmanager
def scratch_file(suffix: str) -> Iterator[Path]:
    """An empty file of that suffix, closed to others, in the system's folder for such, for the time of the block.

    The first of a process also removes what killed ones left there.
    """
    folder = Path(tempfile.gettempdir())
    clear_once(folder)
    path = temporary_path(folder / f"helicon{suffix}")
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        yield path
    finally:
        remove_temporary(path)


def clear_abandoned(folder: Path) -> list[Path]:
    """Removes what killed processes were writing in a folder, not below it; gives what was removed.

    Nothing of a process that lives, or that cannot be known to have ended.
    """
    removed = []
    with suppress(OSError):  # no such folder, or not ours to read
        for path in sorted(folder.iterdir()):
            match = _NAME.fullmatch(path.name)
            if match and _is_abandoned(path, match[1], int(match[2])):
                remove_temporary(path)
                removed.append(path)
    return removed


@cache
def clear_once(folder: Path) -> None:
    """The same, the first time that this process asks."""
    clear_abandoned(folder)


def _is_abandoned(path: Path, host: str, process: int) -> bool:
    if host != _HOST or os.name == "nt":  # where asking for a process would end it
        with suppress(OSError):
            return path.name not in _ours and time.time() - path.lstat().st_mtime > _OTHERS_S
        return False
    if process == os.getpid():  # a number that another process had before
        return path.name not in _ours
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # somebody else's
        pass
    return False
