"""Output folder of `-o`: locked while a command writes to it; results of earlier commands are reported."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from helicon.cli.errors import CommandError
from helicon.formats.folder_lock import FolderInUse, FolderLock
from helicon.formats.printable import print_text
from helicon.formats.temporary import clear_abandoned

NUMBERED = re.compile(r"\d{3,}[.-].*|sheet\.png")  # names of result files: `000.mid`, `000-before.png`, ...


class OutputError(CommandError, ValueError):
    """Error of a folder that results cannot be written to; the message is one line."""


@contextmanager
def output_folder(out: Path, new: bool = False) -> Iterator[None]:
    """Create and lock a folder for results until the block ends; remove it again if nothing was written.

    Args:
        out: path of the folder; parents are created, too.
        new: True to refuse a folder that has something in it.

    Yields:
        None.

    Raises:
        OutputError: `out` is a file, another process is writing to it, or it is not empty where `new` needs it to be.
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
        if new and any(not path.name.startswith(".") for path in out.iterdir()):  # the lock begins with a dot
            raise OutputError(f"-o {out}: has something in it; an empty or a new folder is needed")
        yield
    finally:
        lock.release()
        with suppress(OSError):  # not empty: something was written
            for folder in missing:
                folder.rmdir()


def results_in(out: Path) -> dict[str, tuple[int, int]]:
    """Return name -> (inode, modification time in ns) of a folder's result files; either changes with a rewrite."""
    states = {}
    for path in sorted(out.iterdir()):
        if NUMBERED.fullmatch(path.name):
            status = path.lstat()
            states[path.name] = (status.st_ino, status.st_mtime_ns)
    return states


def report_older(out: Path, before: dict[str, tuple[int, int]]) -> None:
    """Print to standard error which results of an earlier command are still in the folder.

    Args:
        out: path of the folder that results were written to.
        before: `results_in(out)` before that.
    """
    now = results_in(out)
    older: Sequence[str] = [name for name, state in before.items() if now.get(name) == state]
    if older:
        names = ", ".join(older[:3]) + (" ..." if len(older) > 3 else "")
        print_text(f"older      {len(older)} files of an earlier command are left in {out}: {names}", sys.stderr)
