"""Errors of somebody's own code in one line, with the line of their file that they come from."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Collection
from types import FunctionType, MethodType

from helicon.formats.printable import printable

OURS = "helicon"
FULL_DEVICE = "OutOfMemoryError"  # PyTorch's, which is not imported here
_FRAME = re.compile(r'^ *File "(.+)", line (\d+)', re.MULTILINE)  # as Python writes a traceback


def located_message(error: BaseException, files: Collection[str]) -> str | None:
    """An error with the last line of some files that it came through; None where it came through none of them."""
    if place := _place_in(files, error):
        return f"{printable(place[0])}, line {place[1]}: {in_one_line(error)}"
    # Of another process, whose traceback comes as text: a loader's is the message, a pool's is the cause
    text, cause = str(error).strip(), str(error.__cause__)
    for written, said in ((text, text.rpartition("\n")[2]), (cause, in_one_line(error))):
        if places := [(file, line) for file, line in _FRAME.findall(written) if file in files]:
            return f"{printable(places[-1][0])}, line {places[-1][1]}: {_short(said)}"
    return None


def line_in(file: str, error: BaseException) -> int | None:
    """The last line of a file that an error came through; None where it did not."""
    place = _place_in([file], error)
    return place[1] if place else None


def _place_in(files: Collection[str], error: BaseException) -> tuple[str, int] | None:
    """File and line."""
    if isinstance(error, SyntaxError) and error.filename in files and error.lineno:
        return str(error.filename), error.lineno
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in files and frame.lineno:
            return frame.filename, frame.lineno
    return None


def place_of(method: Callable[..., object]) -> str:
    """File and line of a method of Python."""
    function = method.__func__ if isinstance(method, MethodType) else method
    assert isinstance(function, FunctionType)
    code = function.__code__
    return f"{printable(code.co_filename)}, line {code.co_firstlineno}"


def in_one_line(error: BaseException) -> str:
    """Type and message of an error."""
    return f"{type(error).__name__}: {_short(str(error))}"


def _short(text: str) -> str:
    return printable(" ".join(text.split()), 200)


def speaks_for_itself(error: BaseException) -> bool:
    """Whether an error is of Helicon's own types, or of a device that is full."""
    return type(error).__module__.partition(".")[0] == OURS or type(error).__name__ == FULL_DEVICE
