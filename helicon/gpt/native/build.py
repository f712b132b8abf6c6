"""Compiles step.c with the machine's own C compiler, once, into the user's cache; without one there is no such step."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from helicon.formats.files import atomic_write, default_cache

SOURCE = Path(__file__).with_name("step.c")
# The first that the compiler takes: Apple's has no OpenMP, and some call the machine's own instructions -mcpu
FLAGS = (["-march=native", "-fopenmp"], ["-mcpu=native", "-fopenmp"], ["-march=native"], ["-mcpu=native"], [])
NEVER = "HELICON_NO_COMPILER"  # when set, no compiler is looked for


def compiler() -> str | None:
    """Path of a C compiler: $CC, cc, gcc or clang; None where there is none."""
    if os.environ.get(NEVER) or sys.platform == "win32":
        return None
    names = [os.environ["CC"]] if os.environ.get("CC") else ["cc", "gcc", "clang"]
    return next((path for path in map(shutil.which, names) if path), None)


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled step; None without a compiler, or where it fails, which is said on standard error."""
    path = compiler()
    if path is None:
        return None
    target = default_cache() / f"step-{_fingerprint(path)}.so"
    try:
        if not target.exists():
            _compile(path, target)
        return ctypes.CDLL(str(target))
    except (OSError, subprocess.SubprocessError) as error:
        print(f"the decoding step was not compiled, PyTorch's is used: {_reason(error)}", file=sys.stderr)
        return None


def _compile(path: str, target: Path) -> None:
    said = ""
    with atomic_write(target) as made:
        for flags in FLAGS:
            command = [path, "-O3", *flags, "-shared", "-fPIC", str(SOURCE), "-o", str(made), "-lm"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            if done.returncode == 0:
                return
            said = done.stderr.strip()
        raise OSError(f"{path} failed: {said or 'it does not say why'}")


def _fingerprint(path: str) -> str:
    """Of the source, the compiler and the processor: home directories are shared between machines."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else [platform.processor()]
    processor = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    parts = [SOURCE.read_text(encoding="utf-8"), path, platform.machine(), *processor]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
