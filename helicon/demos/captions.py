"""What worlds with captions share: words that are checked, captions read back, a part held out, files and captions."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def check_word(kind: str, word: str, words: Iterable[str]) -> None:
    """ValueError for a word of this kind that there is not."""
    if word not in words:
        raise ValueError(f"no {kind} {word!r}; there are {', '.join(words)}")


def read_words(pattern: re.Pattern[str], text: str, example: str, words: Iterable[str]) -> tuple[str, ...]:
    """The groups of a caption; ValueError, with an example and all words there are, for a text that is none."""
    found = pattern.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"cannot read {text!r}; captions are like {example!r}, with {', '.join(words)}")
    return found.groups()


def fifth(combinations: Iterable[T], caption: Callable[[T], str]) -> frozenset[T]:
    """A fifth of the combinations, always the same: those of the smallest hash of their words."""
    ordered = sorted(combinations, key=lambda each: sha256(caption(each).encode()).digest())
    return frozenset(ordered[: len(ordered) // 5])


def write_captioned(
    folder: str | os.PathLike[str], count: int, seed: int, suffix: str, make: Callable[[Path, np.random.Generator], str]
) -> list[Path]:
    """Writes `folder/00001.suffix`, its caption `00001.txt`, and on; gives the paths of the media.

    make(path, rng): writes a medium, gives its caption.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    paths = [Path(folder) / f"{i + 1:05}{suffix}" for i in range(count)]
    for i, path in enumerate(paths):
        # Thousands, and made again in a moment: not worth waiting for the disk
        caption = make(path, np.random.default_rng((seed, i)))
        path.with_suffix(".txt").write_text(caption + "\n", encoding="utf-8", newline="\n")
    return paths
