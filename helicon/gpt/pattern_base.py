"""What an attention pattern is: which keys a query may see.

Indices count from the start of the slot the pattern lives in; every pattern is causal. `allows` is the definition;
`folds` (training) and `keys` (cached decoding) are two executions of it, each tested against it.

A layer is given a pattern as it is written, such as `column`; `bound` to the rows of a grid it can be executed.

Shapes: B batch, K keys of a list.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol, cast

from torch import Tensor

from helicon.gpt.folds import Fold

MOST_NUMBER = 1 << 24  # of a pattern: more than any context has tokens

KeyList = tuple[Tensor, Tensor]  # index_BK and valid_BK; where not valid the index means nothing


class AttentionPattern(Protocol):
    """A pattern that can be executed."""

    def allows(self, query: Tensor, key: Tensor) -> Tensor:
        """Whether each query may see each key: integer indices that broadcast, to a boolean."""
        ...

    def folds(self, length: int) -> Iterator[Fold]:
        """Disjoint folds that cover exactly the allowed pairs of a slot of that length."""
        ...

    def keys(self, query_B: Tensor, length: int) -> KeyList:
        """Each query's keys, none twice, for queries below `length`."""
        ...


class WrittenPattern(Protocol):
    """A pattern as a layer is given it; `str` gives it as it was written."""

    def bound(self, row: int | None) -> AttentionPattern:
        """The pattern executed in a slot whose grid has rows of that many tokens, or that is no grid (None)."""
        ...


@dataclass(frozen=True)
class Spec:
    """What all patterns share: numbers that must be positive, and a spec such as `local:128`.

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

    def bound(self, row: int | None) -> AttentionPattern:
        """Itself: it has its numbers, whatever the grid."""
        return cast(AttentionPattern, self)
