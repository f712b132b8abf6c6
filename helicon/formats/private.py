"""Checks that folders and files belong to the user and are closed to others, for code and cached work.

Windows has no such owners and modes: there a user's folders are closed to others from the start.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH  # bits of a mode
# Advice at the end of messages
NAME_ANOTHER = "set HELICON_CACHE to a folder of yours"


class NotPrivateError(ValueError):
    """A folder or file that others own or can write to; the message is one line."""


def private_folder(folder: Path) -> Path:
    """Create a folder with mode 0700, or check an existing one; return its path.

    Raises:
        NotPrivateError: `folder` is a file, or another user owns it or can write to it.
        OSError: the folder cannot be created.
    """
    if not folder.is_dir():
        if folder.exists():
            raise NotPrivateError(f"{folder}: is no folder; {NAME_ANOTHER}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    _check(folder.stat(), folder, f"chmod go-w, or {NAME_ANOTHER}")
    return folder


def open_private(file: Path) -> int:
    """Open the regular file at a path for reading and return its descriptor, an int.

    The checked file is the one read, even if its name is replaced.

    Raises:
        NotPrivateError: a link, no regular file, or a file that another user owns or can write to.
        OSError: the file does not exist, or cannot be read.
    """
    if file.is_symlink():
        raise NotPrivateError(f"{file}: is a link")
    # Without waiting for the other end of a pipe, and without following a link that has just been put there
    descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotPrivateError(f"{file}: is no file")
        _check(status, file, "")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check(status: os.stat_result, path: Path, advice: str) -> None:
    if sys.platform == "win32":
        return
    advice = f"; {advice}" if advice else ""
    if status.st_uid != os.geteuid():
        raise NotPrivateError(f"{path}: belongs to another user ({status.st_uid}){advice and f'; {NAME_ANOTHER}'}")
    if status.st_mode & OTHERS_WRITE:
        raise NotPrivateError(f"{path}: others can write to it{advice}")
