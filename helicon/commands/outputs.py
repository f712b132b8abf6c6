"""The folder that -o names: one process at a time writes results there, and says what of earlier ones stays."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from helicon.cli import CommandError
from helicon.formats.folder_lock import FolderInUse, FolderLock
from helicon.formats.printable import print_text
from helicon.formats.temporary import clear_abandoned

NUMBERED = re.compile(r"\d{3,}[.-].*|sheet\.png")  # names of results


class OutputError(CommandError, ValueError):
    """A folder that results cannot go to; the message is one line."""


@contextmanager
def output_folder(out: Path, new: bool = False) -> Iterator[None]:
    """Makes a folder for results, which is this process's until the block ends; unmade where nothing was written.

    Args:
        out: the folder.
        new: nothing of others may be in it.

    Raises:
        OutputError: where it is a file, where another process is writing there, or where it is not as new.
    """
    missing = [folder for folder in (out, *out.parents) if not folder.exists()]
    if out.exists() and not out.is_dir():
        raise OutputError(f"-o {out}: is a file, a folder is needed")
    out.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(out)
    try:
        lock.acquire()
    except FolderInUse:
        message = "another helicon is writing to this folder; wait for its end, or choose another one"
        raise OutputError(f"-o {out}: {message}") from None
    clear_abandoned(out)
    try:
        if new and any(not path.name.startswith(".") for path in out.iterdir()):  # as the lock is
            raise OutputError(f"-o {out}: has something in it; an empty or a new folder is needed")
        yield
    finally:
        lock.release()
        with suppress(OSError):  # something was written
            for folder in missing:
                folder.rmdir()


def results_in(out: Path) -> dict[str, tuple[int, int]]:
    """Names of results in a folder, and what changes when they are written anew."""
    found = {}
    for path in sorted(out.iterdir()):
        if NUMBERED.fullmatch(path.name):
            status = path.lstat()
            found[path.name] = (status.st_ino, status.st_mtime_ns)
    return found


def say_older(out: Path, before: dict[str, tuple[int, int]]) -> None:
    """Names results of an earlier command that still lie beside those of this one."""
    now = results_in(out)
    older: Sequence[str] = [name for name, state in before.items() if now.get(name) == state]
    if older:
        names = ", ".join(older[:3]) + (" ..." if len(older) > 3 else "")
        print_text(f"older      {len(older)} files of an earlier command are left in {out}: {names}", sys.stderr)
