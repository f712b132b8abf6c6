"""Progress messages and bars: on standard error unless redirected."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, runtime_checkable

from tqdm import tqdm

from helicon.formats.printable import print_text, printable


@runtime_checkable
class Writable(Protocol):
    """Text file: the methods that progress needs."""

    def write(self, text: str, /) -> Any: ...
    def flush(self) -> None: ...
    def isatty(self) -> bool: ...


# A file, a function of each line, or None for nowhere
Progress = Writable | Callable[[str], object] | None


class _Lines(io.TextIOBase):
    """File that passes each complete line to a function; not a terminal, so nothing is redrawn in place."""

    def __init__(self, write_line: Callable[[str], object]) -> None:
        self.write_line, self.begun = write_line, ""

    def write(self, text: str, /) -> int:
        *lines, self.begun = (self.begun + text).split("\n")
        for line in lines:
            self.write_line(line)
        return len(text)


_redirected: ContextVar[Any] = ContextVar("_redirected", default=None)


def stream() -> Any:
    """Return the open text file that progress is currently written to, standard error unless redirected."""
    target = _redirected.get()
    return sys.stderr if target is None else target


@contextmanager
def progress_to(where: Progress) -> Iterator[None]:
    """Redirect progress and the messages of training libraries for the time of the block.

    Args:
        where: open text file, or function of a line; None for no messages.
    """
    if where is None or not isinstance(where, Writable):
        where = _Lines(where or (lambda line: None))
    before = _redirected.set(where)
    try:
        yield
    finally:
        _redirected.reset(before)


def is_redirected() -> bool:
    """Return True while progress is redirected from standard error."""
    return _redirected.get() is not None


def log(line: object) -> None:
    """Print a progress message: anything that `str` takes, of one or more lines."""
    print_text(line, stream())


def bar(over: Iterable[Any] | None = None, *, of: str, unit: str, total: int | None = None) -> tqdm:
    """Return a progress bar, shown on a terminal only and removed at its end.

    Args:
        over: iterable to wrap and count; None for manual updates.
        of: label at its start.
        unit: unit of the count, such as `tokens` or `s`.
        total: count at the end, where `over` has no length.

    Returns:
        A `tqdm` bar.
    """
    return tqdm(over, desc=printable(of, 40), unit=f" {unit}", total=total, leave=False, disable=None, file=stream())
