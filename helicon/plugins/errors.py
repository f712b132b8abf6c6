"""One-line messages for errors of plugin code, with the file and line that raised them."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Collection
from types import FunctionType, MethodType

from helicon.formats.printable import printable

OURS = "helicon"  # top package of Helicon's own modules
FULL_DEVICE = "OutOfMemoryError"  # PyTorch's, which is not imported here
_FRAME = re.compile(r'^ *File "(.+)", line (\d+)', re.MULTILINE)  # as Python writes a traceback


def located_message(error: BaseException, files: Collection[str]) -> str | None:
    """Describe an error by the last line of some files in its traceback.

    Args:
        error: exception whose traceback is searched, also that of another process, which comes as text.
        files: paths as texts, as Python writes them in tracebacks.

    Returns:
        Text `FILE, line N: TYPE: MESSAGE`; None when none of the files is in the traceback.
    """
    if place := _place_in(files, error):
        return f"{printable(place[0])}, line {place[1]}: {in_one_line(error)}"
    # Of another process, whose traceback comes as text: a loader's is the message, a pool's is the cause
    text, cause = str(error).strip(), str(error.__cause__)
    for written, message in ((text, text.rpartition("\n")[2]), (cause, in_one_line(error))):
        if places := [(file, line) for file, line in _FRAME.findall(written) if file in files]:
            return f"{printable(places[-1][0])}, line {places[-1][1]}: {_short(message)}"
    return None


def line_in(file: str, error: BaseException) -> int | None:
    """Return the last line of a file in the traceback of an error.

    Args:
        file: path as a text, as Python writes it in tracebacks.
        error: exception whose traceback is searched.

    Returns:
        Line number, from 1; None when the file is not in the traceback.
    """
    place = _place_in([file], error)
    return place[1] if place else None


def _place_in(files: Collection[str], error: BaseException) -> tuple[str, int] | None:
    """Return the file and line of the innermost frame in some files; None without one."""
    if isinstance(error, SyntaxError) and error.filename in files and error.lineno:
        return str(error.filename), error.lineno
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in files and frame.lineno:
            return frame.filename, frame.lineno
    return None


def place_of(method: Callable[..., object]) -> str:
    """Return the place of a function or method written in Python, as `FILE, line N`."""
    function = method.__func__ if isinstance(method, MethodType) else method
    assert isinstance(function, FunctionType)
    code = function.__code__
    return f"{printable(code.co_filename)}, line {code.co_firstlineno}"


def in_one_line(error: BaseException) -> str:
    """Format an exception as `TYPE: MESSAGE`, without line breaks; a long message is cut."""
    return f"{type(error).__name__}: {_short(str(error))}"


def _short(text: str) -> str:
    return printable(" ".join(text.split()), 200)  # characters, so that a message stays a line or two


def speaks_for_itself(error: BaseException) -> bool:
    """Return True for exceptions whose message suffices: of Helicon's own types, or of a device out of memory."""
    return type(error).__module__.partition(".")[0] == OURS or type(error).__name__ == FULL_DEVICE
