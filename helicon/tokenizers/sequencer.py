"""Local ids of all slots to what the model is fed, and back: the one place where layouts, tokenizers and grammars meet.

Shapes: T tokens fed, A coordinate axes of the schema.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from helicon.sequence.layout import TASK, Layout, Schema, Slot
from helicon.tokenizers.abilities import Grid, Words
from helicon.tokenizers.base import Automaton, Coords, Tokenizer
from helicon.tokenizers.guides import GuideRows, guides_of, slid

NO_TARGET = -1


@dataclass(frozen=True)
class PackedSequence:
    """One training sequence: ids int64 [T] fed, rows int64 [T, A] of the coordinate table, targets int64 [T].

    A target is the vocabulary row that comes next, or NO_TARGET where there is nothing to learn.
    """

    ids: np.ndarray
    coord_ids: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class TargetSpan:
    """Positions whose next token belongs to `slot`, and the vocabulary rows that it is one of."""

    slot: str
    positions: slice
    vocab_slice: slice


def grids(tokenizers: Mapping[str, Tokenizer]) -> dict[str, tuple[int, ...]]:
    """Slot -> shape of its tokenizer's grid, of those that have one."""
    return {slot: tokenizer.shape for slot, tokenizer in tokenizers.items() if isinstance(tokenizer, Grid)}


class Sequencer:
    """Layouts, the tokenizer of each slot, and the schema that follows from both.

    context: tokens fed at most; where all layouts are of fixed length, just as many as those have.
    """

    def __init__(
        self, layouts: list[Layout], tokenizers: Mapping[str, Tokenizer], context: int, positions: str = "flat"
    ) -> None:
        self.tokenizers = dict(tokenizers)
        layouts = [layout.filled(grids(tokenizers)) for layout in layouts]
        # What never changes its length is fed whole
        lengths = [layout.input_length for layout in layouts]
        fixed = [length for length in lengths if length is not None]
        context = max(fixed) if len(fixed) == len(layouts) else max([context, *fixed])
        axes = {name: dict(t.automaton.axes) for name, t in self.tokenizers.items() if t.automaton}
        self.guides = guides_of(layouts, self.tokenizers)
        for slot, guide in self.guides.items():
            axes[slot] |= guide.axes
        blocks = {name: t.block for name, t in self.tokenizers.items()}
        self.schema = Schema(
            layouts=tuple(layouts), blocks=blocks, slot_axes=axes, context=context, positions=positions
        )

    @property
    def context(self) -> int:
        """Tokens fed at most."""
        return self.schema.context

    @cached_property
    def _axis_index(self) -> dict[str, int]:
        return {axis: i for i, axis in enumerate(self.schema.axes)}

    @cached_property
    def _axis_starts(self) -> np.ndarray:
        return np.array(list(self.schema.axis_starts.values()), np.int64)

    def automaton(self, layout: Layout) -> Automaton | None:
        """The grammar of the slot that is made."""
        return self.tokenizers[layout.target.name].automaton

    def target_capacity(self, layout: Layout) -> int:
        """Tokens of the last slot that can be fed."""
        return layout.target_capacity(self.context)

    def prefix(self, layout: Layout, given: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Ids [prefix] and rows [prefix, A] of the task token and the fixed slots; a slot not given is all filler.

        ValueError when a slot is given more ids than it has places, or a part of a grid.
        """
        vocabulary, length = self.schema.vocabulary, layout.prefix
        ids = np.empty(length, np.int64)
        rows = np.zeros((length, len(self.schema.axes)), np.int64)
        ids[0] = vocabulary.slice(TASK).start + vocabulary.block(TASK).index[str(layout)]
        for slot in layout.slots[:-1]:
            local = self.checked(slot.name, given.get(slot.name, ()))
            start, size = layout.starts[slot.name], slot.length or 0
            if len(local) > size:
                raise ValueError(f"slot {slot} takes {size} tokens, got {len(local)}")
            if slot.grid and 0 < len(local) < size:
                raise ValueError(f"slot {slot} takes all of its {size} tokens or none, got {len(local)}")
            ids[start : start + len(local)] = vocabulary.slice(slot.name).start + local
            ids[start + len(local) : start + size] = vocabulary.eos(slot.name)
            filler = self._axis_index[f"{slot.name}.filler"]
            rows[start + len(local) : start + size, filler] = np.arange(len(local), size) + 1
            self._mark_grid(rows[start : start + len(local)], slot, np.arange(len(local)))
        return ids, self._placed(rows, layout, np.arange(length))

    def seen(self, layout: Layout, given: Mapping[str, np.ndarray], start: int, total: int) -> Mapping[str, np.ndarray]:
        """What the window from token `start` on, of a piece of `total` tokens, is given: of a long text its stretch.

        A window's stretch is all that it predicts, from the first token to the one after the last that is fed.
        """
        end = max(start, min(start + self.target_capacity(layout) + 1, total))
        return slid(layout, self.tokenizers, given, start, end, max(total, end))

    def guided(self, layout: Layout, givens: Sequence[Mapping[str, np.ndarray]]) -> GuideRows | None:
        """The guides of some items, ready to be marked in their rows; None for a layout without one."""
        if not layout.target.guide:
            return None
        guide = self.guides[layout.target.name]
        columns = [self._axis_index[f"{layout.target.name}.{axis}"] for axis in guide.axes]
        items = [self.checked(guide.name, given.get(guide.name, ())) for given in givens]
        return GuideRows(guide, columns, items)

    def null_conditions(self, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Null conditions for classifier-free guidance, as condition dropout makes them in training.

        Words are left open, other slots left out.
        """
        found = {}
        for slot, ids in given.items():
            tokenizer = self.tokenizers.get(slot)
            if isinstance(tokenizer, Words):
                found[slot] = tokenizer.drop(self.checked(slot, ids), np.random.default_rng(0), 1.0)
        return found

    def last_rows(self, layout: Layout, coords: Coords, origin: Coords, places: np.ndarray) -> np.ndarray:
        """Rows [N, A] of N tokens of the last slot, which stand at `places` [N] of their windows.

        `origin` are the coordinates just before a window: one for all tokens, or one each.
        """
        rows = np.zeros((len(places), len(self.schema.axes)), np.int64)
        automaton = self.automaton(layout)
        if automaton is not None:
            for axis, values in automaton.position(coords, origin).items():
                rows[:, self._axis_index[f"{layout.target.name}.{axis}"]] = np.asarray(values) + 1
        self._mark_grid(rows, layout.target, places)
        return self._placed(rows, layout, places + layout.prefix)

    def pack(
        self, layout: Layout, example: Mapping[str, np.ndarray], start: int = 0, plan: bool = True
    ) -> PackedSequence:
        """The sequence of an example whose last slot is read from token `start` on, cut at the context.

        Coordinates are scanned from the start of the piece. `plan` tells the model where in the piece it stands.
        """
        vocabulary, room = self.schema.vocabulary, self.target_capacity(layout)
        name, local = layout.target.name, np.asarray(example[layout.target.name], np.int64)
        ids, rows = self.prefix(layout, self.seen(layout, example, start, len(local)))
        window = vocabulary.slice(name).start + self.checked(name, local[start : start + room + 1])
        ends = start + room + 1 > len(local) and (layout.target.length is None or len(local) < layout.target.length)
        whole = np.concatenate([ids, window, np.array([vocabulary.eos(name)] * ends, np.int64)])
        fed = len(whole) - len(ids) - 1
        coords, origin = self._scan(layout, local, start, fed, plan)
        targets = whole[1:].copy()
        targets[self._fillers(layout, ids, example)] = NO_TARGET
        rows = np.concatenate([rows, self.last_rows(layout, coords, origin, np.arange(fed))])
        if guided := self.guided(layout, [example]):
            following = np.arange(start, start + fed + 1)
            guided.mark(rows[layout.prefix - 1 :], np.zeros_like(following), following)
        return PackedSequence(whole[:-1], rows, targets)

    def target_spans(self, layout: Layout, fed: int) -> list[TargetSpan]:
        """For each slot the positions that predict it, among the first `fed`."""
        spans = []
        for slot in layout.slots:
            start = layout.starts[slot.name]
            end = fed + 1 if slot is layout.target else start + (slot.length or 0)
            spans.append(TargetSpan(slot.name, slice(start - 1, end - 1), self.schema.vocab_slice(slot)))
        return spans

    def checked(self, name: str, local: ArrayLike) -> np.ndarray:
        """Local ids [T] of a slot as int64; ValueError where they are no whole numbers of its block in a row."""
        found, size = np.asarray(local), len(self.schema.blocks[name])
        if found.ndim != 1 or (len(found) and found.dtype.kind not in "iu"):
            raise ValueError(f"slot {name}: ids must be whole numbers in a row, got {found.dtype} {found.shape}")
        if len(found) and (found.min() < 0 or found.max() >= size):
            raise ValueError(f"slot {name}: ids must be 0 .. {size - 1}, got {found.min()} .. {found.max()}")
        return found.astype(np.int64, copy=False)

    def _mark_grid(self, rows: np.ndarray, slot: Slot, places: np.ndarray) -> None:
        """Writes where in its grid each token stands, if the slot is one."""
        if slot.grid and len(places):
            for axis, values in zip(slot.grid, np.unravel_index(places, tuple(slot.grid.values()))):
                rows[:, self._axis_index[f"{slot.name}.{axis}"]] = values + 1

    def _placed(self, rows: np.ndarray, layout: Layout, position: np.ndarray) -> np.ndarray:
        """Rows with the places of tokens in the sequence written in, counted from the start of the one table."""
        axes = self.schema.position_axes
        if self.schema.positions == "axes":
            for slot in layout.slots:
                offset = position - layout.starts[slot.name]
                inside = (offset >= 0) & (offset < (slot.length or self.context)) & (not slot.grid)
                rows[inside, self._axis_index["position"]] = offset[inside] + 1
        elif "position" in axes:
            rows[:, self._axis_index["position"]] = position
        elif "column" in axes:
            rows[:, self._axis_index["row"]] = position // axes["column"]
            rows[:, self._axis_index["column"]] = position % axes["column"]
        return rows + self._axis_starts

    def _scan(self, layout: Layout, local: np.ndarray, start: int, fed: int, plan: bool) -> tuple[Coords, Coords]:
        automaton = self.automaton(layout)
        if automaton is None:
            return {}, {}
        coords = automaton.scan(local[: start + fed] if not plan else local, plan)
        origin = {axis: values[start - 1] if start else values.dtype.type(0) for axis, values in coords.items()}
        return {axis: values[start : start + fed] for axis, values in coords.items()}, origin

    def _fillers(self, layout: Layout, ids: np.ndarray, example: Mapping[str, np.ndarray]) -> np.ndarray:
        """Positions whose target is a filler: after the first `eos` of its slot, or of a slot that is left out."""
        found = []
        for slot in layout.slots[:-1]:
            start, size = layout.starts[slot.name], slot.length or 0
            stops = np.flatnonzero(ids[start : start + size] == self.schema.vocabulary.eos(slot.name))
            found.extend(start - 1 + (stops[1:] if slot.name in example else stops))
        return np.asarray(found, np.int64)
