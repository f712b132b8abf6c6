"""Ranks of one training: command line of the sibling ranks, the rank that logs, and signals that end them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist
from pytorch_lightning.strategies.launchers import subprocess_script
from pytorch_lightning.utilities import rank_zero_only

from helicon.data.children import python_command, safe_path

launching: Any = subprocess_script  # Any, as a private function of it is replaced
# Environment variables that Lightning sets for the ranks
RANK_VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")


def is_first() -> bool:
    """Return True if this process is rank 0, which logs and writes files; True also for a single process."""
    return getattr(rank_zero_only, "rank", 0) == 0


@contextmanager
def launching_ranks(words: Sequence[str]) -> Iterator[None]:
    """Let Lightning start sibling ranks as `helicon WORDS` within the `with` block; leave the process group then.

    Lightning would repeat the command line of this process, which would plan and write pages once more, or run the
    user's script. It has no public option for another command line, so that a private function is replaced.
    """
    before, variables = launching._basic_subprocess_cmd, set(os.environ)
    launching._basic_subprocess_cmd = lambda: python_command("helicon.cli", "main", words)
    try:
        with safe_path(), _signals_as_exceptions():
            yield
        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()
    finally:
        launching._basic_subprocess_cmd = before
        for name in set(RANK_VARIABLES) - variables:
            os.environ.pop(name, None)


@contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    """Raise SystemExit for SIGTERM, so that clean-up code runs, and let Ctrl-C be a KeyboardInterrupt again."""
    ours = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and leave_on_sigterm()
    try:
        yield
    except SystemExit as exit_:  # raised by Lightning for Ctrl-C
        if isinstance(exit_.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def leave_on_sigterm() -> bool:
    """Install a SIGTERM handler that raises SystemExit(143); return True, or False in a thread, which cannot."""
    if threading.current_thread() is not threading.main_thread():
        return False
    signal.signal(signal.SIGTERM, _leave)
    return True


def _leave(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)
