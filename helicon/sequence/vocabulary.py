"""A vocabulary is declared as an ordered tuple of named blocks; every offset derives from it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class TokenBlock:
    """Named tokens `0 .. len(tokens)-1`. In a vocabulary each block has one more row, `eos`, after its last token."""

    name: str
    tokens: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.tokens)) != len(self.tokens):
            twice = sorted(token for token, times in Counter(self.tokens).items() if times > 1)
            shown = ", ".join(token[:20] for token in twice[:5])
            raise ValueError(f"block {self.name[:20]!r} names a token twice: {shown}")

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def index(self) -> dict[str, int]:
        """Token name -> local id."""
        return {token: i for i, token in enumerate(self.tokens)}


@dataclass(frozen=True)
class Vocabulary:
    """Blocks end to end: local id i of block b is row `slice(b).start + i`; `eos` is the last row of the slice."""

    blocks: tuple[TokenBlock, ...]

    def __post_init__(self) -> None:
        names = [block.name for block in self.blocks]
        if len(set(names)) != len(names):
            raise ValueError(f"block names must differ, got {[name[:20] for name in names[:8]]}")

    @cached_property
    def _slices(self) -> dict[str, slice]:
        slices, start = {}, 0
        for block in self.blocks:
            slices[block.name] = slice(start, start + len(block) + 1)
            start += len(block) + 1
        return slices

    def __len__(self) -> int:
        return sum(len(block) + 1 for block in self.blocks)

    def slice(self, name: str) -> slice:
        """Rows of a block, its `eos` included."""
        if name not in self._slices:
            raise KeyError(f"no block {name!r}; the vocabulary has {', '.join(self._slices)}")
        return self._slices[name]

    def eos(self, name: str) -> int:
        """Row of a block's `eos`: the end of an open slot and the filler of a fixed one."""
        return self.slice(name).stop - 1

    def block(self, name: str) -> TokenBlock:
        """The block of that name."""
        self.slice(name)
        return next(block for block in self.blocks if block.name == name)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all block and token names in order: equal fingerprints mean the same ids."""
        names = json.dumps([[block.name, block.tokens] for block in self.blocks], ensure_ascii=True)
        return hashlib.sha256(names.encode()).hexdigest()[:16]

    def rows_from(self, other: Vocabulary) -> Iterable[tuple[int, int]]:
        """(row here, row in `other`) for every token, `eos` included, that both name in a block of the same name."""
        theirs = {block.name: block for block in other.blocks}
        for block in self.blocks:
            if block.name not in theirs:
                continue
            here, there, index = self.slice(block.name).start, other.slice(block.name).start, theirs[block.name].index
            yield from ((here + i, there + index[t]) for i, t in enumerate(block.tokens) if t in index)
            yield self.eos(block.name), other.eos(block.name)
