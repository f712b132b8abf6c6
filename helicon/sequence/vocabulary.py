"""Vocabularies, declared as an ordered tuple of named token blocks; every offset derives from that order."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class TokenBlock:
    """Named tokens with local ids `0 .. len(tokens)-1`. In a vocabulary each block ends with one more row, `eos`."""

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
        """Local id, from 0, by token name."""
        return {token: i for i, token in enumerate(self.tokens)}


@dataclass(frozen=True)
class Vocabulary:
    """Token blocks end to end: local id i of block b is row `slice(b).start + i`; the last row is `eos`."""

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
        """Return the range of vocabulary ids of the block of a name, its `eos` included; KeyError lists the blocks."""
        if name not in self._slices:
            raise KeyError(f"no block {name!r}; the vocabulary has {', '.join(self._slices)}")
        return self._slices[name]

    def eos(self, name: str) -> int:
        """Return the vocabulary id of `eos` in the block of that name; it ends an open slot and pads a fixed one."""
        return self.slice(name).stop - 1

    def block(self, name: str) -> TokenBlock:
        """Return the `TokenBlock` of that name; KeyError lists the blocks."""
        self.slice(name)
        return next(block for block in self.blocks if block.name == name)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 hash of all block and token names in order, 16 hexadecimal digits: equal ones mean the same ids."""
        names = json.dumps([[block.name, block.tokens] for block in self.blocks], ensure_ascii=True)
        return hashlib.sha256(names.encode()).hexdigest()[:16]

    def rows_from(self, other: Vocabulary) -> Iterable[tuple[int, int]]:
        """Yield pairs (id here, id in the other `Vocabulary`) of tokens, `eos` too, that blocks of one name share."""
        other_blocks = {block.name: block for block in other.blocks}
        for block in self.blocks:
            if block.name not in other_blocks:
                continue
            start, other_start = self.slice(block.name).start, other.slice(block.name).start
            index = other_blocks[block.name].index
            yield from ((start + i, other_start + index[t]) for i, t in enumerate(block.tokens) if t in index)
            yield self.eos(block.name), other.eos(block.name)
