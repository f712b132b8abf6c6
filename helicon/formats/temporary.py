"""Names of temporary files and folders, and the removal of those of killed processes."""

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
    """Return four hexadecimal digits of this machine and process namespace, as folders may be shared with others.

    Containers have process numbers of their own, and may share a host name.
    """
    namespace = Path("/proc/self/ns/pid")
    numbers = namespace.stat().st_ino if namespace.exists() else 0
    return f"{zlib.crc32(f'{platform.node()} {numbers}'.encode()) & 0xFFFF:04x}"


_HOST = _host()  # four hexadecimal digits
# Names of `temporary_path`: stem, machine, process, random digits, suffix
_NAME = re.compile(r"\..*-([0-9a-f]{4})-(\d+)-[0-9a-f]{12}(\.\w+)?", re.DOTALL)
_OTHERS_S = 24 * 3600.0  # age from which a file of another machine is taken for abandoned
_ours: set[str] = set()  # paths that this process is writing


def temporary_path(target: Path) -> Path:
    """Return a hidden path beside the path `target`, of the same suffix, whose name identifies this process."""
    name = f".{target.stem[:40]}-{_HOST}-{os.getpid()}-{uuid.uuid4().hex[:12]}{target.suffix}"
    _ours.add(name)
    return target.with_name(name)


def remove_temporary(path: Path) -> None:
    """Remove the file or folder at a path of `temporary_path`, if it exists."""
    try:
        path.unlink(missing_ok=True)
    except OSError:  # a folder
        shutil.rmtree(path, ignore_errors=True)
    _ours.discard(path.name)


@contextmanager
def scratch_file(suffix: str) -> Iterator[Path]:
    """Yield the path of an empty file of a suffix, such as `.mid`, with mode 0600; it is removed afterwards.

    The file is in the system's temporary folder. The first call of a process also removes files that killed processes
    left there.
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
    """Remove temporary files of killed processes directly in the folder at a path; return the list of their paths.

    Files of live processes, and of those that cannot be known to have ended, are kept.
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
    """Call `clear_abandoned` for the path of a folder once per process."""
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
