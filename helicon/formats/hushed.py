"""C libraries that comment on every fault of a file on standard error are kept from it while they decode."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()


@contextmanager
def hushed(needed: bool = True) -> Iterator[None]:
    """What C code prints to standard error is lost meanwhile; the descriptor is the process's: one thread at a time.

    needed: whether it is such a library at all; nothing is done otherwise.
    """
    if not needed:
        yield
        return
    with _lock, open(os.devnull, "wb") as nowhere:
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
