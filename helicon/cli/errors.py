"""Errors of the command line, and the line that is printed for any exception."""

from __future__ import annotations

import errno
import os

from helicon.plugins.loading import plugin_error_message

FREE_SPACE = "free some space and run it again"  # advice for a full disk


class CommandError(Exception):
    """Error of a command line; the message is one line."""


def error_line(error: Exception) -> str:
    """Format an exception as one line of text.

    An error in a plugin's code names file and line, one of the operating system its file; an unexpected one its type.
    """
    text = " ".join(str(error).split())
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
    if not full and (message := plugin_error_message(error)):
        return message
    if isinstance(error, OSError) and error.filename:
        advice = f"; {'what was there before is intact: ' * os.path.isfile(error.filename)}{FREE_SPACE}" if full else ""
        return f"{error.filename}: {error.strerror}{advice}"
    ours = isinstance(error, (ValueError, RuntimeError)) and text
    return text if ours else f"{type(error).__name__}: {text} (HELICON_TRACEBACK=1 shows where)"


def reason(error: OSError | ValueError) -> str:
    """Return why a file cannot be used, from an OSError or ValueError, as text without the file's name."""
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
