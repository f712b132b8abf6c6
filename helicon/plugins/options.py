"""`--plugin FILE` among the options of a training, whose configs have a list of them, `plugins`."""

from __future__ import annotations

import os
from collections.abc import Iterable


def as_options(files: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Options of a training that add files to its list."""
    return [f"--plugins+={os.fspath(file)}" for file in files]


def with_plugins(words: Iterable[str]) -> list[str]:
    """Options of a command line, `--plugin FILE` as one more of the list."""
    found, words = [], iter(words)
    for word in words:
        name, equals, file = word.partition("=")
        found += as_options([file if equals else next(words, "")]) if name == "--plugin" else [word]
    return found
