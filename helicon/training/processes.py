"""Several processes of one training: what the others run, which of them speaks, and how all are left."""

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

launching: Any = subprocess_script
RANK_VARIABLES = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")  # what Lightning tells them


def is_first() -> bool:
    """Whether this process is the only one, or the one that speaks for all."""
    return getattr(rank_zero_only, "rank", 0) == 0


@contextmanager
def launching_ranks(words: Sequence[str]) -> Iterator[None]:
    """While it lasts, further processes of a trainer are started as `helicon WORDS`; later trainers start their own.

    Lightning repeats the command line of this process, which would plan and write pages once more, or be a script. It
    has no public way to say another one.
    """
    before, known = launching._basic_subprocess_cmd, set(os.environ)
    launching._basic_subprocess_cmd = lambda: python_command("helicon.cli", "main", words)
    try:
        with safe_path(), _signals_as_exceptions():
            yield
        if dist.is_available() and dist.is_initialized():
            dist.destroy_process_group()
    finally:
        launching._basic_subprocess_cmd = before
        for name in set(RANK_VARIABLES) - known:
            os.environ.pop(name, None)


@contextmanager
def _signals_as_exceptions() -> Iterator[None]:
    """SIGTERM leaves as errors do, by way of all that cleans up, and Ctrl-C is one of Python's again."""
    ours = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and leave_on_sigterm()
    try:
        yield
    except SystemExit as left:  # what Lightning makes of Ctrl-C
        if isinstance(left.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def leave_on_sigterm() -> bool:
    """SystemExit (143) where SIGTERM finds this process; False in a thread, which cannot say so."""
    if threading.current_thread() is not threading.main_thread():
        return False
    signal.signal(signal.SIGTERM, _leave)
    return True


def _leave(number: int, frame: Any) -> None:
    raise SystemExit(128 + number)
