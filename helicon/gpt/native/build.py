"""Compilation of step.c by the machine's C compiler, once per machine, into the user's cache folder."""

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
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.formats.private import NotPrivateError, open_private
from helicon.formats.progress import log
from helicon.formats.temporary import clear_abandoned, remove_temporary, temporary_path

SOURCE = Path(__file__).with_name("step.c")
# Tried in order: Apple's compiler has no OpenMP, and some compilers call -march -mcpu
FLAGS = (["-march=native", "-fopenmp"], ["-mcpu=native", "-fopenmp"], ["-march=native"], ["-mcpu=native"], [])
NEVER = "HELICON_NO_COMPILER"  # environment variable; when set, no compiler is looked for
TIMEOUT = 120  # seconds for a compilation, which takes a few
HASH_CHARS = 16  # hexadecimal digits of a fingerprint in a file name: 64 bits


def compiler() -> list[str] | None:
    """Find a C compiler: $CC, cc, gcc or clang. Return the words of its command, path first, or None."""
    if os.environ.get(NEVER) or sys.platform == "win32":
        return None
    configured = shlex.split(os.environ.get("CC", ""))
    commands = [configured] if configured else [["cc"], ["gcc"], ["clang"]]
    return next(([path, *rest] for name, *rest in commands if (path := shutil.which(name))), None)


@functools.cache
def library() -> ctypes.CDLL | None:
    """Load the compiled step, a ctypes.CDLL, compiling it if need be; None without a compiler, or if it fails."""
    command = compiler()
    if command is None:
        return None
    try:
        target = default_cache() / f"step-{_fingerprint(command)}.so"
        clear_abandoned(target.parent)
        return _cached(target) or _compiled(command, target)
    except (OSError, NotPrivateError, subprocess.SubprocessError) as error:
        log(f"the decoding step was not compiled, PyTorch's is used: {_reason(error)}")
        return None


def _cached(target: Path) -> ctypes.CDLL | None:
    """Load what an earlier process compiled; None if nothing loads, or if other users could have written it."""
    try:
        descriptor = open_private(target)
    except FileNotFoundError:
        return None
    except (OSError, NotPrivateError) as error:
        log(f"the decoding step is compiled anew: {_reason(error)}")
        return None
    try:
        opened = Path(f"/proc/self/fd/{descriptor}")  # the file that was checked, not one that has replaced it since
        return ctypes.CDLL(str(opened if opened.exists() else target))
    except OSError:
        return None  # incomplete, or of another system
    finally:
        os.close(descriptor)


def _compiled(command: Sequence[str], target: Path) -> ctypes.CDLL:
    """Compile with the first flags that give a loadable library, in a temporary folder that is private to the user."""
    message = ""
    folder = temporary_path(target)
    folder.mkdir(0o700)
    try:
        output, environment = folder / target.name, {**os.environ, "TMPDIR": str(folder)}
        for flags in FLAGS:
            arguments = [*command, "-O3", *flags, "-shared", "-fPIC", str(SOURCE), "-o", str(output), "-lm"]
            result = subprocess.run(
                arguments,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT,
                check=False,
                env=environment,
            )
            message = result.stderr.strip()
            if result.returncode:
                continue
            try:
                library = ctypes.CDLL(str(output))
            except OSError as error:
                message = f"what it made does not load: {error}"
                continue
            output.chmod(0o700)
            with output.open("rb+") as file:
                os.fsync(file.fileno())  # a library that is incomplete after a crash may end the process that loads it
            os.replace(output, target)
            return library
    finally:
        remove_temporary(folder)
    raise OSError(f"{' '.join(command)} failed: {message or 'it does not say why'}")


def _fingerprint(command: Sequence[str]) -> str:
    """Hash source, compiler, flags and processor: machines of different kinds may share a home directory."""
    cpuinfo, stat = Path("/proc/cpuinfo"), Path(command[0]).stat()
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    processor = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))})
    if sys.platform == "darwin":  # the platform module says no more than arm
        query = ["sysctl", "-n", "machdep.cpu.brand_string"]
        processor.append(subprocess.run(query, capture_output=True, text=True, check=False).stdout)
    compiler_parts = [*command, str(stat.st_size), str(stat.st_mtime_ns), *map(str, FLAGS)]
    parts = [SOURCE.read_text(encoding="utf-8"), *compiler_parts, platform.machine(), platform.processor(), *processor]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:HASH_CHARS]


def _reason(error: Exception) -> str:
    return printable(" ".join(str(error).split()), MAX_QUOTED)
