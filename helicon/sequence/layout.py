"""What a sequence is: a task token, then ordered slots such as `text[32] style[3] music`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod

from helicon.sequence.vocabulary import Block, Vocabulary

TASK = "task"
_SLOT = re.compile(r"([a-z][a-z0-9_-]*)(?:\[(\d+(?:x\d+)*)\])?")


@dataclass(frozen=True)
class Slot:
    """A stretch of a sequence that one tokenizer fills: of fixed length, perhaps a grid, or open (length None)."""

    name: str
    shape: tuple[int, ...] | None = None

    @property
    def length(self) -> int | None:
        """Tokens of a fixed slot; None when open."""
        return prod(self.shape) if self.shape else None

    def __str__(self) -> str:
        return f"{self.name}[{'x'.join(map(str, self.shape))}]" if self.shape else self.name


@dataclass(frozen=True)
class Layout:
    """Ordered slots. Fixed ones are filled up with `stop`; only the last may be open.

    A sequence is the task token and then the slots; `prefix` positions come before the last slot.
    """

    slots: tuple[Slot, ...]

    @staticmethod
    def parse(spec: str) -> Layout:
        """Layout of a spec such as `text[256] image[32x32]`; ValueError says what is wrong with it."""
        slots = []
        for word in spec.split():
            match = _SLOT.fullmatch(word)
            if not match:
                raise ValueError(f"layout {spec!r}: {word!r} is not `name`, `name[length]` or `name[rowsxcolumns]`")
            slots.append(Slot(match[1], tuple(map(int, match[2].split("x"))) if match[2] else None))
        names = [slot.name for slot in slots]
        if not slots or len(set(names)) != len(names) or TASK in names:
            raise ValueError(f"layout {spec!r}: one or more slots of different names (not {TASK!r}) are needed")
        if any(slot.shape is None for slot in slots[:-1]) or any(0 in (slot.shape or ()) for slot in slots):
            raise ValueError(f"layout {spec!r}: only the last slot may be open, and no slot may be empty")
        return Layout(tuple(slots))

    def __str__(self) -> str:
        return " ".join(map(str, self.slots))

    @property
    def last(self) -> Slot:
        """The slot that is made; those before it are conditions."""
        return self.slots[-1]

    @cached_property
    def starts(self) -> dict[str, int]:
        """Position of each slot's first token; the task token is at 0."""
        starts, position = {}, 1
        for slot in self.slots:
            starts[slot.name] = position
            position += slot.length or 0
        return starts

    @property
    def prefix(self) -> int:
        """Positions before the last slot, the task token included."""
        return self.starts[self.last.name]

    def room(self, context: int) -> int:
        """Tokens of the last slot that are fed when at most `context` are; ValueError when the rest leaves none."""
        if context <= self.prefix:
            raise ValueError(f"layout {str(self)!r} needs a context above {self.prefix} tokens, got {context}")
        room = context - self.prefix
        if self.last.length is None:
            return room
        if room < self.last.length - 1:
            needed = self.prefix + self.last.length - 1
            raise ValueError(f"layout {str(self)!r} needs a context of {needed}, got {context}")
        return self.last.length - 1


@dataclass(frozen=True)
class Schema:
    """The layouts one model carries, the blocks and axes of their slots, and how many tokens are fed at most.

    axes: slot -> axis -> table size, of each slot's grammar. positions: `flat`, `grid:L` (one table for i // L and
    one for i mod L: Sparse Transformer's "attention embeddings", arXiv:1904.10509 section 5.3) or `rope` (no table).
    """

    layouts: tuple[Layout, ...]
    blocks: Mapping[str, Block]
    slot_axes: Mapping[str, Mapping[str, int]]
    context: int
    positions: str = "flat"

    def __post_init__(self) -> None:
        for layout in self.layouts:
            layout.room(self.context)
            for slot in layout.slots:
                if slot.name not in self.blocks:
                    raise ValueError(f"layout {str(layout)!r}: no tokenizer for slot {slot.name!r}")
        self.position_axes  # noqa: B018  raises on a bad `positions`

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """A block of task tokens, then the block of each slot in order of first use."""
        names = dict.fromkeys(slot.name for layout in self.layouts for slot in layout.slots)
        slots = (Block(name, self.blocks[name].tokens) for name in names)
        return Vocabulary((Block(TASK, tuple(map(str, self.layouts))), *slots))

    @cached_property
    def position_axes(self) -> dict[str, int]:
        """Axis -> size of the tables for a token's place in the sequence."""
        kind, _, length = self.positions.partition(":")
        if self.positions == "flat":
            return {"position": self.context}
        if self.positions == "rope":
            return {}
        if kind == "grid" and length.isdecimal() and int(length) > 0:
            return {"row": -(-self.context // int(length)), "column": int(length)}
        raise ValueError(f"positions {self.positions!r} is not `flat`, `grid:L` or `rope`")

    @cached_property
    def axes(self) -> dict[str, int]:
        """Every coordinate axis -> table size. Row 0 of a slot's axes means: this token is not of that slot.

        A fixed slot that something may leave short has an axis `SLOT.filler`: the embedding of its fillers,
        learned for each position as DALL·E's pads are.
        """
        axes = dict(self.position_axes)
        for layout in self.layouts:
            for slot in layout.slots:
                if slot.length is not None:
                    name = f"{slot.name}.filler"
                    axes[name] = max(axes.get(name, 0), slot.length + 1)
                for axis, size in self.slot_axes.get(slot.name, {}).items():
                    axes[f"{slot.name}.{axis}"] = size + 1
        return axes

    @cached_property
    def axis_starts(self) -> dict[str, int]:
        """Axis -> its first row in the one table that holds all axes, whose size is `places`."""
        return dict(zip(self.axes, accumulate(self.axes.values(), initial=0)))

    @property
    def places(self) -> int:
        """Rows of the one coordinate table."""
        return sum(self.axes.values())

    def layout(self, spec: str) -> Layout:
        """The layout of that spec; KeyError names those there are."""
        found = [layout for layout in self.layouts if str(layout) == spec]
        if not found:
            raise KeyError(f"no layout {spec!r}; this model has: {'; '.join(map(str, self.layouts))}")
        return found[0]
