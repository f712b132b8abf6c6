"""Attention patterns: which keys a query may see, as one predicate, and what is derived from it.

Indices count from the start of the slot the pattern lives in; no query sees a later key. `mask_mod` is the definition.
`tiles` (training) and `keys` (cached decoding) execute it: the ones here follow from the predicate and are right for
any; a pattern that knows its shape overrides them to be faster. Each is tested against the predicate.

A layer is given a `PatternSpec`, such as `column`; `resolve` makes it a pattern for the rows of a grid.

Shapes: B batch, K keys of a list.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from helicon.gpt.attention.tiles import AttentionTile, predicate_tiles

MOST_NUMBER = 1 << 24  # of a pattern: more than any context has tokens

KeyList = tuple[Tensor, Tensor]  # index_BK and valid_BK; where not valid the index means nothing


class PatternSpec(Protocol):
    """A pattern as a layer is given it; `str` gives it as it was written."""

    def resolve(self, row: int | None) -> AttentionPattern:
        """The pattern executed in a slot whose grid has rows of that many tokens, or that is no grid (None)."""
        ...


@dataclass(frozen=True)
class NumberedSpec:
    """A spec such as `local:128`: a name and numbers, which must be positive.

    form: what to write, a letter a field; in brackets the width, when that of the grid's rows will do.
    """

    form: ClassVar[str]

    def __post_init__(self) -> None:
        if any(not 1 <= number <= MOST_NUMBER for number in vars(self).values()):
            raise ValueError(f"the numbers of {self.form} must be at least 1 and at most {MOST_NUMBER:,}")

    def __str__(self) -> str:
        return self.written(*vars(self).values())

    @classmethod
    def name(cls) -> str:
        """`column` of `column[:L]`."""
        return cls.form.partition(":")[0].removesuffix("[")

    @classmethod
    def written(cls, *numbers: int) -> str:
        """The spec with those numbers."""
        return ":".join([cls.name(), *([",".join(map(str, numbers))] if numbers else [])])


class AttentionPattern(NumberedSpec, ABC):
    """A pattern that can be executed: a frozen dataclass of whole numbers, a `form`, and `mask_mod`."""

    @abstractmethod
    def mask_mod(self, query: Tensor, key: Tensor) -> Tensor:
        """Whether each query may see each key.

        Args:
            query: integer indices that broadcast with `key`.
            key: integer indices; later ones than the query's are never seen, whatever is returned for them.

        Returns:
            A boolean tensor of the broadcast shape.
        """

    def allowed(self, query: Tensor, key: Tensor) -> Tensor:
        """`mask_mod` without later keys."""
        return (key <= query) & self.mask_mod(query, key)

    def tiles(self, length: int) -> Iterator[AttentionTile]:
        """Disjoint tiles that cover exactly the allowed pairs of a slot of that length."""
        return predicate_tiles(self.allowed, length)

    def keys(self, query_B: Tensor, length: int) -> KeyList:
        """Each query's keys, none twice, for queries below `length`."""
        index_BK = torch.arange(length, device=query_B.device).expand(len(query_B), -1)
        return index_BK, self.allowed(query_B[:, None], index_BK)

    def resolve(self, row: int | None) -> AttentionPattern:
        """Itself: it has its numbers, whatever the grid."""
        return self
