"""Base classes of attention patterns: a predicate of query and key, and the tiles and key lists derived from it.

Indices count from the start of the slot where the pattern applies; no query attends to a later key. `mask_mod`, in
FlexAttention's word, is the definition. `tiles` (training) and `keys` (decoding) implement it: the implementations here
are derived from the predicate and correct for any pattern; a pattern of regular shape overrides them with faster ones.
Each is tested against the predicate.

A layer gets a `PatternSpec`, such as `column`; `resolve` turns it into a pattern for the width of a grid.

Shapes: B batch, K keys of a list.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from helicon.gpt.attention.pattern_tiles import predicate_tiles
from helicon.gpt.attention.tiles import AttentionTile

MAX_NUMBER = 1 << 24  # of a pattern: more than any context has tokens

KeyList = tuple[Tensor, Tensor]  # index_BK, int64, and valid_BK, bool; indices that are not valid are arbitrary


class PatternSpec(Protocol):
    """Attention pattern of a layer, independent of the grid; `str` returns its spec, such as `local:128`."""

    def resolve(self, grid_width: int | None) -> AttentionPattern:
        """Return the `AttentionPattern` for a grid with rows of that many tokens; None is a slot without a grid."""
        ...


@dataclass(frozen=True)
class NumberedSpec:
    """Spec such as `local:128`: a name and positive numbers, one per field of the dataclass.

    Attributes:
        form: how to write the spec, one letter per field; a width in brackets may be left out, and is then the grid's.
    """

    form: ClassVar[str]

    def __post_init__(self) -> None:
        if any(not 1 <= number <= MAX_NUMBER for number in vars(self).values()):
            raise ValueError(f"the numbers of {self.form} must be at least 1 and at most {MAX_NUMBER:,}")

    def __str__(self) -> str:
        return self.written(*vars(self).values())

    @classmethod
    def name(cls) -> str:
        """Return the name in the form: `column` for `column[:L]`."""
        return cls.form.partition(":")[0].removesuffix("[")

    @classmethod
    def written(cls, *numbers: int) -> str:
        """Write the spec with these integers as text: `local:128`; without any, the bare name."""
        return ":".join([cls.name(), *([",".join(map(str, numbers))] if numbers else [])])


class AttentionPattern(NumberedSpec, ABC):
    """Attention pattern with all its numbers: a frozen dataclass of integers with a `form` and a `mask_mod`."""

    @abstractmethod
    def mask_mod(self, query: Tensor, key: Tensor) -> Tensor:
        """Evaluate the predicate that defines the pattern.

        Args:
            query: integer indices in the slot, from 0, that broadcast with `key`.
            key: integer indices in the slot; keys after the query are never attended to, whatever is returned for them.

        Returns:
            A boolean tensor of the broadcast shape: True where the query may attend to the key.
        """

    def allowed(self, query: Tensor, key: Tensor) -> Tensor:
        """Evaluate `mask_mod` without later keys.

        Args:
            query: integer indices in the slot, from 0, that broadcast with `key`.
            key: integer indices in the slot.

        Returns:
            A boolean tensor of the broadcast shape: True where the query may attend to the key.
        """
        return (key <= query) & self.mask_mod(query, key)

    def tiles(self, length: int) -> Iterator[AttentionTile]:
        """Make disjoint `AttentionTile`s that cover exactly the allowed pairs of a slot of `length` tokens."""
        return predicate_tiles(self.allowed, length)

    def keys(self, query_B: Tensor, length: int) -> KeyList:
        """List each query's keys, none twice.

        Args:
            query_B: int64 indices of queries in the slot, below `length`.
            length: number of tokens of the slot so far.

        Returns:
            Indices of K keys of each query in the slot, int64 [B, K], and a bool mask [B, K], True for valid ones.
        """
        index_BK = torch.arange(length, device=query_B.device).expand(len(query_B), -1)
        return index_BK, self.allowed(query_B[:, None], index_BK)

    def resolve(self, grid_width: int | None) -> AttentionPattern:
        """Return the pattern itself: its numbers are known, whatever the grid's width."""
        return self
