"""Freed memory stays with the process where speed matters, and goes back where memory does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import resource
import numpy as np
from helicon.training import memory
memory.keep_freed_memory()
{more}
resident = lambda: int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
before = resident()
block, stays = np.ones(16 << 20, np.uint8), np.ones(1 << 20, np.uint8)
del block
print(resident() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux alone tells")
@pytest.mark.parametrize(("more", "kept_mib"), [("", 17), ("memory.return_freed_memory()", 1)])
def test_a_freed_block_is_kept_or_given_back(more, kept_mib):
    """16 MiB, freed while 1 MiB that was allocated after it stays."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(more=more)], check=True, capture_output=True, text=True, timeout=60
    )
    assert int(done.stdout) / 2**20 == pytest.approx(kept_mib, abs=2)
