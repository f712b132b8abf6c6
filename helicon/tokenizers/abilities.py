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
            ids: int64 [T], canonical.
            augmentation: drawn by the modality's `AugmentationRanges`.

        Returns:
            Ids int64 [T'], equal to the encoding of the augmented media.
        """


class AugmentedByMedia(Tokenizer[Media], Augmentable):
    """Tokenizer that augments by decoding, `augmentation.apply(media)` and encoding again."""

    def augment(self, ids: np.ndarray, augmentation: Any) -> np.ndarray:
        """Augment an example by way of its media.

        Args:
            ids: int64 [T], canonical.
            augmentation: with a method `apply(media) -> media`.

        Returns:
            Ids int64 [T'] of the augmented media.
        """
        return self.encode(augmentation.apply(self.decode(ids)))


class CountsLosses(ABC):
    """Tokenizer whose encoding can lose something that users should be warned of."""

    @abstractmethod
    def encode_with_report(self, media: Any) -> tuple[np.ndarray, ReadReport]:
        """Encode media to ids int64 [T]; the report counts losses beyond the usual rounding."""


class Words(ABC):
    """Tokenizer of condition words, each of which may be left open (a null condition)."""

    @abstractmethod
    def parse(self, text: str) -> Any:
        """Parse words that a user types; ValueError names an unknown word and the most similar ones."""

    @abstractmethod
    def drop(self, ids: np.ndarray, rng: np.random.Generator, p: float) -> np.ndarray:
        """Apply condition dropout: leave each word open with probability p.

        Args:
            ids: int64 [T].
            rng: source of the random numbers.
            p: probability for each word; 1 gives the null condition of classifier-free guidance.

        Returns:
            Ids int64 [T].
        """

    def constraints(self, media: Any) -> Mapping[str, Any]:
        """Return the constraints on the target's grammar, as arguments of `Automaton.constrain`; by default none."""
        return {}


class Sliding(ABC):
    """Tokenizer of a long condition, of which each window of the target sees the part that belongs to it."""

    @abstractmethod
    def slide(self, ids: np.ndarray, begin_s: float, end_s: float, total_s: float, length: int) -> np.ndarray:
        """Cut out the part of a condition that belongs to a window.

        Args:
            ids: int64 [T] of the complete condition.
            begin_s: start of the window, in seconds from the start of the piece.
            end_s: end of the window, in seconds.
            total_s: duration of the piece, in seconds.
            length: ids that fit into the slot.

        Returns:
            At most `length` ids, int64.
        """
