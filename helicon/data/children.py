"""Child processes: they import nothing from the current folder, and end when this process ends."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait

SAFE_PATH = "PYTHONSAFEPATH"  # Python's own switch: keeps the current folder and a script's folder off sys.path
POLL_S = 1.0  # seconds between checks of the parent, where the system does not signal its end


@contextmanager
def safe_path() -> Iterator[None]:
    """Keep the current folder off the module search path of processes started during the `with` block.

    Spawned processes search it first, before they receive the `sys.path` of their parent.
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
    """Build the command line of a Python process that calls a function and ends with this process.

    The process has the `sys.path` of this one, without the current folder.

    Args:
        module: dotted name of the module that has the function.
        function: its name; it takes a list of strings and returns the exit status.
        words: its argument.

    Returns:
        List of program and arguments, for `subprocess`.
    """
    paths = [path for path in sys.path if path]
    code = (
        f"import sys; sys.path[:] = {paths!r}; from helicon.data.children import end_with_parent; "
        f"end_with_parent({os.getpid()}); from {module} import {function}; sys.exit({function}(sys.argv[1:]))"
    )
    return [sys.executable, "-P", "-c", code, *words]


def end_with_parent(parent: int | None = None) -> None:
    """Make this process end when its parent ends, also when the parent is killed.

    Args:
        parent: process id of the parent; None where `multiprocessing` started this process.
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
