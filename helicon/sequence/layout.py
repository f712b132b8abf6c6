"""Layouts of sequences: a task token, then ordered slots such as `text[32] style[3] music`; and a model's schema.

Shapes are in tokens; positions count from the task token, which is at 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from math import prod

from helicon.sequence.vocabulary import TokenBlock, Vocabulary

TASK = "task"  # name of the block of task tokens, one token a layout
GRID_AXES = ("row", "column", "channel")  # coordinate axes of a grid, outermost first
# Bounds that a config from elsewhere is checked against, so that it cannot ask for huge tables or long matching
MAX_CONTEXT = 1 << 20  # tokens fed, and therefore tokens of a slot
MAX_LAYOUTS = 256  # each has a task token
LONGEST_SPEC = 1000  # characters
# A slot as it is written: name, perhaps [length] or [rowsxcolumns], perhaps @guide. Bounded numbers are cheap to read
_NAME = r"([a-z][a-z0-9_-]{0,99})"
_SLOT = re.compile(rf"{_NAME}(?:\[([0-9]{{1,9}}(?:x[0-9]{{1,9}})*|)\])?(?:@{_NAME})?")


@dataclass(frozen=True)
class Slot:
    """Segment of a sequence that one tokenizer fills: of fixed length, perhaps a grid, or open (length None).

    Attributes:
        name: of the slot, and of its tokenizer's block.
        shape: tokens along each axis; None for an open slot, () as in `image[]` for the shape of the tokenizer's grid.
            A grid is filled completely or left out completely.
        guide: slot of the upsampling condition, such as `above` in `audio@above`: coarser tokens of the same medium.
            They are never fed; they enter as coordinates of the tokens (see `helicon.tokenizers.guides`).
    """

    name: str
    shape: tuple[int, ...] | None = None
    guide: str | None = None

    def __post_init__(self) -> None:
        if self.guide is not None and len(self.shape if self.shape is not None else (1,)) != 1:
            raise ValueError(f"slot {self}: a grid has no guide")

    @property
    def length(self) -> int | None:
        """Number of tokens of a fixed slot; None when open."""
        return prod(self.shape) if self.shape else None

    @property
    def grid(self) -> dict[str, int]:
        """Tokens along each grid axis by name, such as {"row": 32, "column": 32}; empty below two dimensions."""
        return dict(zip(GRID_AXES, self.shape)) if self.shape and len(self.shape) > 1 else {}

    def __str__(self) -> str:
        shape = "" if self.shape is None else f"[{'x'.join(map(str, self.shape))}]"
        return f"{self.name}{shape}" + (f"@{self.guide}" if self.guide else "")


@dataclass(frozen=True)
class PatternContext:
    """Geometry of a layout that attention patterns depend on.

    Attributes:
        prefix: positions before the target slot.
        row: tokens in one row of the target slot's grid; None when the slot is no grid.
    """

    prefix: int = 0
    row: int | None = None


@dataclass(frozen=True)
class Layout:
    """Ordered slots of a sequence. Fixed slots are padded with `eos`; only the last slot, the target, may be open.

    A sequence is the task token followed by the slots; `prefix` positions come before the target slot.
    """

    slots: tuple[Slot, ...]

    @staticmethod
    def parse(spec: str) -> Layout:
        """Parse a text such as `text[256] image[32x32]` to a `Layout`; ValueError says what is wrong with it."""
        if not isinstance(spec, str) or len(spec) > LONGEST_SPEC:
            raise ValueError(f"layout {repr(spec)[:40]}...: a text of at most {LONGEST_SPEC} characters is accepted")
        slots, shown = [], spec if len(spec) <= 100 else f"{spec[:97]}..."
        for word in spec.split():
            match = _SLOT.fullmatch(word)
            if not match:
                written = "`name`, `name[length]` or `name[rowsxcolumns]`, of which the last may end with `@guide`"
                raise ValueError(f"layout {shown!r}: {word[:60]!r} is not {written}")
            shape = None if match[2] is None else tuple(map(int, filter(None, match[2].split("x"))))
            slots.append(Slot(match[1], shape, match[3]))
        names = [slot.name for slot in slots]
        if not slots or len(set(names)) != len(names) or TASK in names:
            raise ValueError(f"layout {shown!r}: one or more slots of different names (not {TASK!r}) are needed")
        if any(slot.shape is None for slot in slots[:-1]) or any(0 in (slot.shape or ()) for slot in slots):
            raise ValueError(f"layout {shown!r}: only the last slot may be open, and no slot may be empty")
        if any(len(slot.shape or ()) > len(GRID_AXES) for slot in slots):
            raise ValueError(f"layout {shown!r}: a grid has at most {', '.join(GRID_AXES)}")
        if any(slot.guide for slot in slots[:-1]) or slots[-1].guide in [TASK, *names]:
            raise ValueError(
                f"layout {shown!r}: only the last slot may have a guide, and that is no slot of the layout"
            )
        return Layout(tuple(slots))

    def filled(self, shapes: Mapping[str, tuple[int, ...]]) -> Layout:
        """Return a `Layout` with slots shaped like the grids of their tokenizers.

        Args:
            shapes: tokens along each grid axis by name of the slot, of the slots whose tokenizer makes grids.

        Raises:
            ValueError: a slot has another shape than its grid, or an empty shape and a tokenizer without a grid.
        """
        slots = []
        for slot in self.slots:
            shape = shapes.get(slot.name)
            if slot.shape == () and shape is None:
                raise ValueError(f"layout {str(self)!r}: the tokenizer of {slot.name} makes no grid; give its length")
            if slot.shape and shape and slot.shape != shape:
                grid = "x".join(map(str, shape))
                accepted = f"{slot.name}[{grid}] or {slot.name}[] is accepted, or media of another --data.size"
                fault = f"the tokenizer of {slot.name} makes grids of {grid}"
                raise ValueError(f"layout {str(self)!r}: {fault}; {accepted}")
            slots.append(replace(slot, shape=shape or slot.shape))
        return Layout(tuple(slots))

    def __str__(self) -> str:
        return " ".join(map(str, self.slots))

    @property
    def target(self) -> Slot:
        """Last `Slot`, the one that is generated; the slots before it are conditions."""
        return self.slots[-1]

    @property
    def all_slots(self) -> list[str]:
        """Names of all slots whose ids an example carries: those of the sequence, then the target's guide, if any."""
        return [slot.name for slot in self.slots] + ([self.target.guide] if self.target.guide else [])

    @cached_property
    def starts(self) -> dict[str, int]:
        """Position of each slot's first token by slot name; the task token is at 0."""
        starts, position = {}, 1
        for slot in self.slots:
            starts[slot.name] = position
            position += slot.length or 0
        return starts

    @property
    def prefix(self) -> int:
        """Number of positions before the target slot, the task token included."""
        return self.starts[self.target.name]

    @cached_property
    def frame(self) -> PatternContext:
        """`PatternContext` of the layout; `image[32x32]` has rows of 32 tokens, `image[32x32x3]` rows of 96."""
        shape = self.target.shape or ()
        return PatternContext(self.prefix, prod(shape[1:]) if len(shape) > 1 else None)

    @property
    def input_length(self) -> int | None:
        """Number of tokens fed when all slots are full; None when the target slot is open.

        The last token of a sequence is only ever predicted, never fed.
        """
        return None if self.target.length is None else self.prefix + self.target.length - 1

    def target_capacity(self, context: int) -> int:
        """Return how many target tokens are fed within a context of so many tokens; ValueError when it is too short."""
        if context <= self.prefix:
            raise ValueError(f"layout {str(self)!r} needs a context above {self.prefix} tokens, got {context}")
        capacity = context - self.prefix
        if self.target.length is None:
            return capacity
        if capacity < self.target.length - 1:
            raise ValueError(f"layout {str(self)!r} needs a context of {self.input_length}, got {context}")
        return self.target.length - 1


@dataclass(frozen=True, kw_only=True)
class Schema:
    """Layouts that one model carries, with the token blocks and coordinate axes of their slots, and the context length.

    Attributes:
        layouts: one task token each.
        blocks: `TokenBlock` by name of the slot.
        slot_axes: number of values of each coordinate axis of the slot's grammar, by name of slot, then of axis.
        context: number of tokens fed at most.
        positions: `flat`, `grid:L` (one table for i // L and one for i mod L: Sparse Transformer's "attention
            embeddings", arXiv:1904.10509 section 5.3), `axes` (a table for the position within a slot; a grid has only
            its own axes) or `rope` (no table). Grids have their axes in any case.
    """

    layouts: tuple[Layout, ...]
    blocks: Mapping[str, TokenBlock]
    slot_axes: Mapping[str, Mapping[str, int]]
    context: int
    positions: str = "flat"

    def __post_init__(self) -> None:
        if type(self.context) is not int or not 1 <= self.context <= MAX_CONTEXT:
            raise ValueError(f"context {repr(self.context)[:40]}: 1 to {MAX_CONTEXT:,} tokens are accepted")
        if not 1 <= len(self.layouts) <= MAX_LAYOUTS:
            raise ValueError(f"{len(self.layouts)} layouts: 1 to {MAX_LAYOUTS} are accepted")
        for layout in self.layouts:
            layout.target_capacity(self.context)
            for name in layout.all_slots:
                if name not in self.blocks:
                    raise ValueError(f"layout {str(layout)!r}: no tokenizer for slot {name!r}")
        self.position_axes  # noqa: B018  raises on a bad `positions`

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """`Vocabulary` of the model: the block of task tokens, then those of the slots that are fed, by first use."""
        names = dict.fromkeys(slot.name for layout in self.layouts for slot in layout.slots)
        slots = (TokenBlock(name, self.blocks[name].tokens) for name in names)
        return Vocabulary((TokenBlock(TASK, tuple(map(str, self.layouts))), *slots))

    @cached_property
    def position_axes(self) -> dict[str, int]:
        """Rows of the coordinate table for each axis of the position, by name; ValueError for unknown `positions`."""
        if not isinstance(self.positions, str):
            raise ValueError(f"positions {repr(self.positions)[:40]}: a text is accepted")
        kind, _, length = self.positions[:20].partition(":")
        if self.positions == "flat":
            return {"position": self.context}
        if self.positions == "axes":
            plain = [(y, slot) for y in self.layouts for slot in y.slots if not slot.grid]
            return {"position": 1 + max((slot.length or self.context - y.prefix for y, slot in plain), default=0)}
        if self.positions == "rope":
            return {}
        if kind == "grid" and re.fullmatch("[0-9]{1,9}", length) and 0 < int(length) <= MAX_CONTEXT:
            return {"row": -(-self.context // int(length)), "column": int(length)}
        raise ValueError(f"positions {self.positions[:40]!r} is not `flat`, `grid:L`, `axes` or `rope`")

    @cached_property
    def axes(self) -> dict[str, int]:
        """Rows of the coordinate table for every axis, by its name, such as `position` or `image.row`.

        Row 0 of a slot's axes marks tokens of other slots.

        A fixed slot that an example may leave short has an axis `SLOT.filler`: the embedding of its pad tokens,
        learned for each position as in DALL·E (arXiv:2102.12092, section 2.2).
        """
        axes = dict(self.position_axes)
        for layout in self.layouts:
            for slot in layout.slots:
                complete = slot.grid and slot is layout.target  # a generated grid is never left short
                if slot.length is not None and not complete:
                    name = f"{slot.name}.filler"
                    axes[name] = max(axes.get(name, 0), slot.length + 1)
                for axis, size in {**slot.grid, **self.slot_axes.get(slot.name, {})}.items():
                    axes[f"{slot.name}.{axis}"] = size + 1
        return axes

    @cached_property
    def axis_starts(self) -> dict[str, int]:
        """First row of each axis, by its name, in the coordinate table, which holds all in `coord_table_size` rows."""
        return dict(zip(self.axes, accumulate(self.axes.values(), initial=0)))

    def vocab_slice(self, slot: Slot) -> slice:
        """Return the range of vocabulary ids of a `Slot`'s tokens: its block with `eos`, for a grid without."""
        rows = self.vocabulary.slice(slot.name)
        return slice(rows.start, rows.stop - 1) if slot.grid else rows

    @property
    def coord_table_size(self) -> int:
        """Number of rows of the coordinate table."""
        return sum(self.axes.values())

    def layout(self, spec: str) -> Layout:
        """Return the `Layout` that is written like that, such as `text[32] image[8x8]`; KeyError lists the model's."""
        matches = [layout for layout in self.layouts if str(layout) == spec]
        if not matches:
            raise KeyError(f"no layout {spec!r}; this model has: {'; '.join(map(str, self.layouts))}")
        return matches[0]
