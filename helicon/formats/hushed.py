"""Libraries that comment on every fault of a file, on standard error or by warnings, are kept from it meanwhile."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.RLock()


@contextmanager
def hushed(needed: bool = True) -> Iterator[None]:
    """Warnings, and what C code prints to standard error, are lost meanwhile.

    Both ways belong to the whole process: one thread at a time, which may do so within itself.

    needed: whether it is such a library at all; nothing is done otherwise.
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
