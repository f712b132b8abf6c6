"""Where progress is told: on standard error, unless who asked for the work says otherwise."""

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
    """A file that text can be written to."""

    def write(self, text: str, /) -> Any: ...
    def flush(self) -> None: ...
    def isatty(self) -> bool: ...


# A file, a function of each line, or None for nowhere
Progress = Writable | Callable[[str], object] | None


class _Lines(io.TextIOBase):
    """A file that tells each line that is written to it, and no terminal: nothing is rewritten in place."""

    def __init__(self, told: Callable[[str], object]) -> None:
        self.told, self.begun = told, ""

    def write(self, text: str, /) -> int:
        *lines, self.begun = (self.begun + text).split("\n")
        for line in lines:
            self.told(line)
        return len(text)


_told: ContextVar[Any] = ContextVar("_told", default=None)


def stream() -> Any:
    """The file that progress is written to now."""
    told = _told.get()
    return sys.stderr if told is None else told


@contextmanager
def progress_to(where: Progress) -> Iterator[None]:
    """While the block lasts, progress goes there, and what libraries say of a training, too."""
    if where is None or not isinstance(where, Writable):
        where = _Lines(where or (lambda line: None))
    before = _told.set(where)
    try:
        yield
    finally:
        _told.reset(before)


def is_told_otherwise() -> bool:
    """Whether progress goes elsewhere than to standard error."""
    return _told.get() is not None


def say(line: object) -> None:
    """Tells how it goes."""
    print_text(line, stream())


def bar(over: Iterable[Any] | None = None, *, of: str, unit: str, total: int | None = None) -> tqdm:
    """A bar on a terminal, which is gone when its end is reached; nothing elsewhere.

    Args:
        over: what is gone through, if the bar is to count by itself.
        of: what goes on.
        unit: of what is counted.
        total: how many there are, where `over` does not know.
    """
    return tqdm(over, desc=printable(of, 40), unit=f" {unit}", total=total, leave=False, disable=None, file=stream())
