"""Abilities that only some tokenizers have: declared by inheriting the class, asked for by `isinstance`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from helicon.formats.score import ReadReport
from helicon.tokenizers.base import Tokenizer

Media = TypeVar("Media")


class Grid:
    """Ids that fill a grid, row by row."""

    shape: tuple[int, ...]  # rows, columns, and what there is of each place


class Augmentable(ABC):
    """Media that can be varied in training, such as transposed."""

    @abstractmethod
    def augment(self, ids: np.ndarray, augmentation: Any) -> np.ndarray:
        """Ids of the varied media, equal to encoding them; an augmentation is what the modality's ranges draw."""


class AugmentedByMedia(Tokenizer[Media], Augmentable):
    """Media that are decoded, changed by `augmentation.apply(media)` and encoded again."""

    def augment(self, ids: np.ndarray, augmentation: Any) -> np.ndarray:
        """Ids of the changed media."""
        return self.encode(augmentation.apply(self.decode(ids)))


class CountsLosses(ABC):
    """Media of which something can be lost that people should be told of."""

    @abstractmethod
    def encode_with_report(self, media: Any) -> tuple[np.ndarray, ReadReport]:
        """`encode` of the tokenizer, and counts of what was lost beyond what every encoding rounds away."""


class Words(ABC):
    """Words that say what is asked for, each of which may be left open."""

    @abstractmethod
    def parse(self, text: str) -> Any:
        """Media of words that are typed; ValueError names an unknown one and those nearest to it."""

    @abstractmethod
    def drop(self, ids: np.ndarray, rng: np.random.Generator, p: float) -> np.ndarray:
        """Ids with each word left open with probability p: condition dropout."""

    def constraints(self, media: Any) -> Mapping[str, Any]:
        """Constraints on the automaton of the slot that is made, for `Automaton.constrain`; by default none."""
        return {}


class Sliding(ABC):
    """A long condition, of which a window shows what belongs to its stretch of the piece."""

    @abstractmethod
    def slide(self, ids: np.ndarray, begin_s: float, end_s: float, total_s: float, length: int) -> np.ndarray:
        """At most `length` of the ids, those for the seconds from `begin_s` to `end_s` of a piece of `total_s`."""
