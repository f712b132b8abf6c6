"""Helpers of worlds with captions: word checks, caption parsing, the held-out fifth, writing of media with captions."""

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
    """Check a word of a caption.

    Args:
        kind: of the word, such as "size".
        word: the word.
        words: accepted words.

    Raises:
        ValueError: the word is not accepted.
    """
    if word not in words:
        raise ValueError(f"no {kind} {word!r}; there are {', '.join(words)}")


def read_words(pattern: re.Pattern[str], text: str, example: str, words: Iterable[str]) -> tuple[str, ...]:
    """Parse a caption.

    Args:
        pattern: compiled regular expression with a group for each word.
        text: the caption.
        example: a caption, for the message.
        words: all words, for the message.

    Returns:
        The groups, a text each, in order.

    Raises:
        ValueError: the pattern does not match.
    """
    match = pattern.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"cannot read {text!r}; captions are like {example!r}, with {', '.join(words)}")
    return match.groups()


def fifth(combinations: Iterable[T], caption: Callable[[T], str]) -> frozenset[T]:
    """Select a fixed fifth of the combinations, by the smallest hashes of their captions.

    Args:
        combinations: to select from.
        caption: function from a combination to its words, a text.

    Returns:
        The selected combinations, a frozen set.
    """
    ordered = sorted(combinations, key=lambda combination: sha256(caption(combination).encode()).digest())
    return frozenset(ordered[: len(ordered) // 5])


def write_captioned(
    folder: str | os.PathLike[str], count: int, seed: int, suffix: str, make: Callable[[Path, np.random.Generator], str]
) -> list[Path]:
    """Write media with captions: `folder/00001.suffix`, `folder/00001.txt`, and on.

    Args:
        folder: path of the target, created if necessary.
        count: number of media.
        seed: of the random generators, one for each medium.
        suffix: of the media's files, with the dot.
        make: `make(path, rng)` writes a medium, drawn from the NumPy generator, and returns its caption.

    Returns:
        Paths of the media.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    paths = [Path(folder) / f"{i + 1:05}{suffix}" for i in range(count)]
    for i, path in enumerate(paths):
        # Thousands, and made again in a moment: not worth waiting for the disk
        caption = make(path, np.random.default_rng((seed, i)))
        path.with_suffix(".txt").write_text(caption + "\n", encoding="utf-8", newline="\n")
    return paths
