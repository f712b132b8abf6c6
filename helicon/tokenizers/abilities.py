"""Optional abilities of tokenizers: declared by inheriting a class, tested for by `isinstance`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from helicon.formats.read_report import ReadReport
from helicon.tokenizers.base import Tokenizer

Media = TypeVar("Media")


class Grid:
    """Tokenizer whose ids fill a grid, row by row."""

    shape: tuple[int, ...]  # rows, columns, and the ids of each pixel if there are several


class Augmentable(ABC):
    """Tokenizer that supports data augmentation in training, such as transposition."""

    @abstractmethod
    def augment(self, ids: np.ndarray, augmentation: Any) -> np.ndarray:
        """Augment an example.

        Args:
            ids: local ids NumPy int64 [T] of T tokens, canonical: as `encode` makes them.
            augmentation: drawn by the modality's `AugmentationRanges`, such as an `Augmentation` for music.

        Returns:
            Local ids NumPy int64 [T'] of T' tokens, equal to the encoding of the augmented media.
        """


class AugmentedByMedia(Tokenizer[Media], Augmentable):
    """Tokenizer that augments by decoding, `augmentation.apply(media)` and encoding again."""

    def augment(self, ids: np.ndarray, augmentation: Any) -> np.ndarray:
        """Augment an example by way of its media.

        Args:
            ids: local ids NumPy int64 [T] of T tokens, canonical: as `encode` makes them.
            augmentation: with a method `apply(media) -> media`.

        Returns:
            Local ids NumPy int64 [T'] of T' tokens, of the augmented media.
        """
        return self.encode(augmentation.apply(self.decode(ids)))


class CountsLosses(ABC):
    """Tokenizer whose encoding can lose something that users should be warned of."""

    @abstractmethod
    def encode_with_report(self, media: Any) -> tuple[np.ndarray, ReadReport]:
        """Encode media of the tokenizer's kind to local ids NumPy int64 [T] and a `ReadReport`.

        The report counts losses beyond the usual rounding.
        """


class Words(ABC):
    """Tokenizer of condition words, each of which may be left open (a null condition)."""

    @abstractmethod
    def parse(self, text: str) -> Any:
        """Parse a text of words that a user types to media that `encode` takes, such as a `Style` or a label.

        ValueError names an unknown word and the most similar ones.
        """

    @abstractmethod
    def drop(self, ids: np.ndarray, rng: np.random.Generator, p: float) -> np.ndarray:
        """Apply condition dropout: leave each word open with probability p.

        Args:
            ids: local ids of the words, NumPy int64 [T].
            rng: NumPy generator of the random numbers.
            p: probability for each word; 1 gives the null condition of classifier-free guidance.

        Returns:
            Local ids NumPy int64 [T], those of open words where words were left open.
        """

    def constraints(self, media: Any) -> Mapping[str, Any]:
        """Return the constraints that condition words put on the target's grammar; by default none.

        Args:
            media: result of `parse` or `decode`.

        Returns:
            Keyword arguments of `Automaton.constrain`, by name.
        """
        return {}


class Sliding(ABC):
    """Tokenizer of a long condition, of which each window of the target sees the part that belongs to it."""

    @abstractmethod
    def slide(self, ids: np.ndarray, begin_s: float, end_s: float, total_s: float, length: int) -> np.ndarray:
        """Cut out the part of a condition that belongs to a window.

        Args:
            ids: local ids NumPy int64 [T] of the complete condition.
            begin_s: start of the window, in seconds from the start of the piece.
            end_s: end of the window, in seconds.
            total_s: duration of the piece, in seconds.
            length: number of ids that fit into the slot.

        Returns:
            Local ids int64, at most `length`.
        """
