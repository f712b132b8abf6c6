"""`--plugin FILE` among the options of a training, whose configs have a list of them, `plugins`."""

from __future__ import annotations

import os
from collections.abc import Iterable


def as_options(files: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Return the options, `--plugins+=FILE` each, that add paths of files to a training's list of plugins."""
    return [f"--plugins+={os.fspath(file)}" for file in files]


def with_plugins(words: Iterable[str]) -> list[str]:
    """Convert each `--plugin FILE` among the words of a command line to `--plugins+=FILE`, and return all words."""
    options, words = [], iter(words)
    for word in words:
        name, equals, file = word.partition("=")
        options += as_options([file if equals else next(words, "")]) if name == "--plugin" else [word]
    return options
