"""How freed memory is kept: training allocates the same large tensors at every step."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Tells glibc to reuse large freed blocks: by default each goes back to the system, whose empty pages cost a sixth
    to a quarter of a step on a CPU. Elsewhere nothing is done."""
    if any(_mallopt(_MMAP_THRESHOLD, size) for size in (1 << 30, 32 << 20)):  # the most that older ones take
        _mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)


def return_freed_memory() -> None:
    """Tells glibc to give blocks of 8 MiB or more back as soon as they are freed, which costs a tenth of a step.

    What it keeps is cut up by the little that stays, so that recomputing activations would save a third of the memory,
    where it can save four fifths (benchmarks/memory.py).
    """
    _mallopt(_MMAP_THRESHOLD, 8 << 20)


def _mallopt(option: int, value: int) -> bool:
    """Whether it was taken."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    return mallopt is not None and bool(mallopt(option, value))
