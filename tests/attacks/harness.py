"""Runs what a stranger's files make us do in a forked process: how it ended, and what it took.

A fork starts within milliseconds with all that is imported here; its peak of memory is counted from there.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

SECONDS, MEGABYTES = 2.0, 300.0  # of CPU, and of memory above the start, that any input may take
SQUARES, SQUARES_S = 2_000_000, 0.1  # a sum that takes so long on the machine that the limit is meant for
KILLED_AFTER_S, KILLED_ABOVE_MB = 20.0, 1500.0  # what goes on beyond that has failed anyway
LONGEST_LINE = 400  # characters of a refusal: a path, what is wrong, at most 200 characters of the stranger's

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


@dataclass
class Outcome:
    """value: repr of the result; error: the message, of an exception of type kind; both empty where killed.

    seconds: of CPU. megabytes: peak above the start. out, err: what was printed.
    """

    value: str
    kind: str
    error: str
    seconds: float
    megabytes: float
    out: str
    err: str

    def is_cheap(self) -> None:
        """Asserts that neither time nor memory were used up."""
        if self.seconds > SECONDS:  # on a slow or crowded machine all takes longer
            slower = _seconds_of_squares() / SQUARES_S  # what is heavy on memory suffers more from others than a sum
            most = SECONDS * min(4.0, max(1.5, 1.5 * slower))
            assert self.seconds <= most, f"{self.seconds:.1f} of {most:.1f} s of CPU; {self.kind}: {self.error[:200]}"
        assert self.megabytes <= MEGABYTES, f"{self.megabytes:.0f} MB; {self.kind}: {self.error[:200]}"

    def is_refusal(self, *words: str | Path) -> None:
        """Asserts a cheap end in one short printable line of ours that has these words."""
        self.is_cheap()
        assert self.kind not in ("", "MemoryError", "RecursionError", "TypeError", "AttributeError", "KeyError"), self
        assert self.error.isprintable(), ascii(self.error[:1000])
        assert len(self.error) <= LONGEST_LINE, self.error[:1000]
        for word in words:
            assert str(word) in self.error, self.error


def _seconds_of_squares() -> float:
    began = time.process_time()
    sum(i * i for i in range(SQUARES))
    return time.process_time() - began


def attempt(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Outcome:
    """Calls the function in a process of its own, which is killed when it takes far too much."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("result", "out", "err")]
        child = os.fork()
        if not child:
            _run(files, function, args, kwargs)
        seconds, megabytes = _watched(child)
        result, out, err = (
            file.read_text(encoding="utf-8", errors="replace") if file.exists() else "" for file in files
        )
        found = json.loads(result) if result else {"value": "", "kind": "", "error": "", "seconds": seconds}
        return Outcome(**{"megabytes": megabytes, **found}, out=out, err=err)


def command(args: Sequence[str], folder: Path | None = None, environment: dict[str, str] | None = None) -> Outcome:
    """`helicon ARGS` in a process of its own; value is the exit status, error the last line on standard error."""

    def run() -> int:
        from helicon.cli import main

        os.environ.update(environment or {})
        if folder:
            os.chdir(folder)
        return main(list(args))

    ended = attempt(run)
    if not ended.kind and ended.value not in ("", "0"):
        lines = ended.err.strip().splitlines() or [""]
        ended.kind, ended.error = "exit", lines[-1]
    return ended


def put(*keys: Any) -> Callable[[dict[str, Any]], None]:
    """A change: puts the last of `keys` in the place that those before it name."""
    *path, last, value = keys

    def change(config: dict[str, Any]) -> None:
        where: Any = config
        for key in path:
            where = where[key]
        where[last] = value

    return change


def _run(files: Sequence[Path], function: Callable[..., Any], args: Any, kwargs: Any) -> None:
    """The forked process, from here to its end."""
    status = 1
    try:
        torch.set_num_threads(1)  # OpenMP's threads do not survive a fork
        for number, file in zip((1, 2), files[1:]):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8") for number in (1, 2))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        began, start, found = time.process_time(), _peak(), {"value": "", "kind": "", "error": ""}
        try:
            found["value"] = repr(function(*args, **kwargs))[:10_000]
        except Exception as error:
            found |= {"kind": type(error).__name__, "error": str(error)[:10_000]}
        result: dict[str, Any] = {**found, "seconds": time.process_time() - began}
        result["megabytes"] = _peak() - start
        sys.stdout.flush()
        sys.stderr.flush()
        files[0].write_text(json.dumps(result), encoding="utf-8")
        status = 0
    finally:
        os._exit(status)


def _peak() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 10 if sys.platform == "linux" else 1 << 20)


def _watched(child: int) -> tuple[float, float]:
    """Waits for a process; kills what takes far too much. Seconds on the clock and megabytes it grew to."""
    began, first, most = time.monotonic(), _size(child), 0.0
    while not os.waitpid(child, os.WNOHANG)[0]:
        time.sleep(0.005)
        most = max(most, _size(child) - first)
        if time.monotonic() - began > 3 * KILLED_AFTER_S or most > KILLED_ABOVE_MB or _cpu(child) > KILLED_AFTER_S:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return max(KILLED_AFTER_S, time.monotonic() - began), most
    return time.monotonic() - began, most


def _size(process: int) -> float:
    """Megabytes in memory; 0 where the system does not tell."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
    except (OSError, IndexError):
        return 0.0


def _cpu(process: int) -> float:
    """Seconds of CPU so far; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return 0.0
