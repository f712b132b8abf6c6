"""Processes that this one starts: they import nothing of the folder one happens to be in, and end with this one."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait

SAFE_PATH = "PYTHONSAFEPATH"  # Python's own switch: neither the current folder nor a script's goes before all others
POLL_S = 1.0  # between two looks for a parent of which the system does not tell when it ends


@contextmanager
def safe_path() -> Iterator[None]:
    """While it lasts, Python processes that are started do not search the current folder for modules.

    Spawned ones search it first, before they are told where their parent found its own.
    """
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(SAFE_PATH, None)
        else:
            os.environ[SAFE_PATH] = before


def python_command(module: str, function: str, words: Sequence[str]) -> list[str]:
    """Command line of a process that calls a function with a list of words; it ends with this one, or the status given.

    It imports from where this one does, but for the current folder.
    """
    paths = [path for path in sys.path if path]
    code = (
        f"import sys; sys.path[:] = {paths!r}; from helicon.data.children import end_with_parent; "
        f"end_with_parent({os.getpid()}); from {module} import {function}; sys.exit({function}(sys.argv[1:]))"
    )
    return [sys.executable, "-P", "-c", code, *words]


def end_with_parent(parent: int | None = None) -> None:
    """From now on this process ends when its parent has ended, which a parent that is killed cannot tell it.

    parent: process id, where it was not `multiprocessing` that started this process.
    """
    threading.Thread(target=_watch, args=(parent,), name="end-with-parent", daemon=True).start()


def _watch(process: int | None) -> None:
    sentinels: list[int] = []  # what the system makes ready when the parent ends
    if process is None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        assert parent.pid is not None
        sentinels, process = [parent.sentinel], parent.pid
    elif sys.platform == "win32":
        import _winapi

        try:
            sentinels = [_winapi.OpenProcess(_winapi.SYNCHRONIZE, False, process)]
        except OSError:  # it has ended before
            os._exit(1)
    # Who has adopted this process tells too: a forked sibling keeps a sentinel of ours open. Whom a server has forked
    # for the parent is not its child.
    is_child = not sentinels or os.getppid() == process
    while not wait(sentinels, POLL_S):
        if is_child and os.getppid() != process:
            break
    os._exit(1)
