"""Suppression of warnings and standard error of C libraries that comment on every fault of a file."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.RLock()


@contextmanager
def suppress_output(needed: bool = True) -> Iterator[None]:
    """Suppress warnings and standard error of C code during the block.

    Both belong to the whole process, hence a re-entrant lock: one thread at a time.

    Args:
        needed: True to suppress; False makes this a no-op.
    """
    if not needed:
        yield
        return
    with _lock, warnings.catch_warnings(action="ignore"), open(os.devnull, "wb") as nowhere:
        try:
            kept = os.dup(2)
        except OSError:  # there is no standard error
            yield
            return
        try:
            os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
