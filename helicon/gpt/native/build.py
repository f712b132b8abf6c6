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

from helicon.formats.files import default_cache
from helicon.formats.printable import MOST, printable
from helicon.formats.private import NotPrivateError, open_private
from helicon.formats.progress import say
from helicon.formats.temporary import clear_abandoned, remove_temporary, temporary_path

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
    try:
        target = default_cache() / f"step-{_fingerprint(command)}.so"
        clear_abandoned(target.parent)
        return _cached(target) or _compiled(command, target)
    except (OSError, NotPrivateError, subprocess.SubprocessError) as error:
        say(f"the decoding step was not compiled, PyTorch's is used: {_reason(error)}")
        return None


def _cached(target: Path) -> ctypes.CDLL | None:
    """The library of an earlier process; None where there is none that is ours alone and loads."""
    try:
        descriptor = open_private(target)
    except FileNotFoundError:
        return None
    except (OSError, NotPrivateError) as error:
        say(f"the decoding step is compiled anew: {_reason(error)}")
        return None
    try:
        opened = Path(f"/proc/self/fd/{descriptor}")  # that very file, where the system can name it
        return ctypes.CDLL(str(opened if opened.exists() else target))
    except OSError:
        return None  # torn, or of another system
    finally:
        os.close(descriptor)


def _compiled(command: Sequence[str], target: Path) -> ctypes.CDLL:
    """Compiles with the first flags by which it also loads, among temporary files that others do not reach."""
    message = ""
    folder = temporary_path(target)
    folder.mkdir(0o700)
    try:
        made, environment = folder / target.name, {**os.environ, "TMPDIR": str(folder)}
        for flags in FLAGS:
            whole = [*command, "-O3", *flags, "-shared", "-fPIC", str(SOURCE), "-o", str(made), "-lm"]
            ended = subprocess.run(
                whole, capture_output=True, text=True, errors="replace", timeout=120, check=False, env=environment
            )
            message = ended.stderr.strip()
            if ended.returncode:
                continue
            try:
                library = ctypes.CDLL(str(made))
            except OSError as error:
                message = f"what it made does not load: {error}"
                continue
            made.chmod(0o700)
            with made.open("rb+") as file:
                os.fsync(file.fileno())  # a library that is torn may end the process that loads it
            os.replace(made, target)
            return library
    finally:
        remove_temporary(folder)
    raise OSError(f"{' '.join(command)} failed: {message or 'it does not say why'}")


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
    return printable(" ".join(str(error).split()), MOST)
