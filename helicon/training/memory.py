"""Settings of glibc's malloc for training, which allocates the same large tensors at every step."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h


def keep_freed_memory() -> None:
    """Make glibc reuse large freed blocks; does nothing on other systems.

    By default each block goes back to the system, and clearing new pages costs a sixth to a quarter of a CPU step.
    """
    # Bytes; older versions of glibc take 32 MiB at most
    if any(_mallopt(_MMAP_THRESHOLD, size) for size in (1 << 30, 32 << 20)):
        _mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)  # bytes: the largest int, so that the heap is never trimmed


def return_freed_memory() -> None:
    """Make glibc return blocks of 8 MiB or more as soon as they are freed, which costs a tenth of a step.

    For activation checkpointing: in reused memory, fragmented by small blocks that stay, it would save a third of the
    memory, where it can save four fifths (benchmarks/memory.py).
    """
    _mallopt(_MMAP_THRESHOLD, 8 << 20)


def _mallopt(option: int, value: int) -> bool:
    """Call glibc's mallopt; return whether it accepted the value."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    return mallopt is not None and bool(mallopt(option, value))
