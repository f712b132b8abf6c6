"""Compiles step.c with the machine's own C compiler, once, into the user's cache; without one there is no such step."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from helicon.formats.files import atomic_write, default_cache

SOURCE = Path(__file__).with_name("step.c")
# The first that the compiler takes: Apple's has no OpenMP, and some call the machine's own instructions -mcpu
FLAGS = (["-march=native", "-fopenmp"], ["-mcpu=native", "-fopenmp"], ["-march=native"], ["-mcpu=native"], [])
NEVER = "HELICON_NO_COMPILER"  # when set, no compiler is looked for


def compiler() -> list[str] | None:
    """A C compiler, by its path, and what it is always told: $CC, cc, gcc or clang; None where there is none."""
    if os.environ.get(NEVER) or sys.platform == "win32":
        return None
    told = shlex.split(os.environ.get("CC", ""))
    commands = [told] if told else [["cc"], ["gcc"], ["clang"]]
    return next(([path, *rest] for name, *rest in commands if (path := shutil.which(name))), None)


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled step; None without a compiler, or where it fails, which is said on standard error."""
    command = compiler()
    if command is None:
        return None
    target = default_cache() / f"step-{_fingerprint(command)}.so"
    try:
        if not target.exists():
            _compile(command, target)
        return ctypes.CDLL(str(target))
    except (OSError, subprocess.SubprocessError) as error:
        print(f"the decoding step was not compiled, PyTorch's is used: {_reason(error)}", file=sys.stderr)
        return None


def _compile(command: Sequence[str], target: Path) -> None:
    said = ""
    with atomic_write(target) as made:
        for flags in FLAGS:
            whole = [*command, "-O3", *flags, "-shared", "-fPIC", str(SOURCE), "-o", str(made), "-lm"]
            done = subprocess.run(whole, capture_output=True, text=True, timeout=120, check=False)
            if done.returncode == 0:
                return
            said = done.stderr.strip()
        raise OSError(f"{' '.join(command)} failed: {said or 'it does not say why'}")


def _fingerprint(command: Sequence[str]) -> str:
    """Of the source, the compiler, what it is told, and the processor: home directories are shared by machines."""
    info, made = Path("/proc/cpuinfo"), Path(command[0]).stat()
    lines = info.read_text().splitlines() if info.exists() else []
    processor = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    if sys.platform == "darwin":  # platform knows no more than arm
        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        processor.append(subprocess.run(asked, capture_output=True, text=True, check=False).stdout)
    told = [*command, str(made.st_size), str(made.st_mtime_ns), *map(str, FLAGS)]
    parts = [SOURCE.read_text(encoding="utf-8"), *told, platform.machine(), platform.processor(), *processor]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
