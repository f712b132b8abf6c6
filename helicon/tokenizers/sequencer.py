"""Sequencer: packs the local ids of all slots into model inputs, from layouts, tokenizers and grammars.

Shapes: T tokens fed, A coordinate axes of the schema. Coordinate rows are rows of the one coordinate table.
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
from helicon.tokenizers.guides import UpsamplingCoords, slide_conditions, upsampling_conditions

NO_TARGET = -1  # target of a position without a loss


@dataclass(frozen=True)
class PackedSequence:
    """Training sequence.

    Attributes:
        ids: vocabulary rows that are fed, int64 [T].
        coord_ids: coordinate rows, int64 [T, A].
        targets: vocabulary row that comes next, int64 [T]; NO_TARGET where nothing is to be learned.
    """

    ids: np.ndarray
    coord_ids: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class TargetSpan:
    """Positions whose next token belongs to a slot, and the vocabulary rows that this token can have."""

    slot: str
    positions: slice
    vocab_slice: slice


def grids(tokenizers: Mapping[str, Tokenizer]) -> dict[str, tuple[int, ...]]:
    """Return the grid shape, such as (rows, columns), by slot, of the tokenizers that fill a grid.

    Args:
        tokenizers: `Tokenizer` by slot.
    """
    return {slot: tokenizer.shape for slot, tokenizer in tokenizers.items() if isinstance(tokenizer, Grid)}


class Sequencer:
    """Layouts, the tokenizer of each slot, and the schema that follows from both.

    Args:
        layouts: `Layout`s of the model.
        tokenizers: by slot.
        context: tokens fed at most; ignored where all layouts have a fixed length, which then counts.
        positions: see `Schema`.
    """

    def __init__(
        self, layouts: list[Layout], tokenizers: Mapping[str, Tokenizer], context: int, positions: str = "flat"
    ) -> None:
        self.tokenizers = dict(tokenizers)
        layouts = [layout.filled(grids(tokenizers)) for layout in layouts]
        # Layouts of fixed length are never cut, so that the context is at least their length
        lengths = [layout.input_length for layout in layouts]
        fixed = [length for length in lengths if length is not None]
        context = max(fixed) if len(fixed) == len(layouts) else max([context, *fixed])
        axes = {name: dict(t.automaton.axes) for name, t in self.tokenizers.items() if t.automaton}
        self.guides = upsampling_conditions(layouts, self.tokenizers)
        for slot, condition in self.guides.items():
            axes[slot] |= condition.axes
        blocks = {name: t.block for name, t in self.tokenizers.items()}
        self.schema = Schema(
            layouts=tuple(layouts), blocks=blocks, slot_axes=axes, context=context, positions=positions
        )

    @property
    def context(self) -> int:
        """Number of tokens that are fed at most."""
        return self.schema.context

    @cached_property
    def _axis_index(self) -> dict[str, int]:
        return {axis: i for i, axis in enumerate(self.schema.axes)}

    @cached_property
    def _axis_starts(self) -> np.ndarray:
        return np.array(list(self.schema.axis_starts.values()), np.int64)

    def automaton(self, layout: Layout) -> Automaton | None:
        """Return the `Automaton`, the grammar, of a `Layout`'s target slot; None when it has none."""
        return self.tokenizers[layout.target.name].automaton

    def target_capacity(self, layout: Layout) -> int:
        """Return the greatest number of tokens of a `Layout`'s target slot that can be fed."""
        return layout.target_capacity(self.context)

    def prefix(self, layout: Layout, conditions: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Pack the task token and the condition slots.

        Args:
            layout: `Layout` of the sequence.
            conditions: local ids NumPy int64 [T] by slot; a missing slot is padding only.

        Returns:
            Vocabulary rows NumPy int64 [prefix] and coordinate rows int64 [prefix, A]: `layout.prefix` tokens, A axes.

        Raises:
            ValueError: more ids than the slot holds, a part of a grid, or ids outside the block.
        """
        vocabulary, length = self.schema.vocabulary, layout.prefix
        ids = np.empty(length, np.int64)
        rows = np.zeros((length, len(self.schema.axes)), np.int64)
        ids[0] = vocabulary.slice(TASK).start + vocabulary.block(TASK).index[str(layout)]
        for slot in layout.slots[:-1]:
            local = self.checked(slot.name, conditions.get(slot.name, ()))
            start, size = layout.starts[slot.name], slot.length or 0
            if len(local) > size:
                raise ValueError(f"slot {slot} takes {size} tokens, got {len(local)}")
            if slot.grid and 0 < len(local) < size:
                raise ValueError(f"slot {slot} takes all of its {size} tokens or none, got {len(local)}")
            ids[start : start + len(local)] = vocabulary.slice(slot.name).start + local
            ids[start + len(local) : start + size] = vocabulary.eos(slot.name)
            padding = self._axis_index[f"{slot.name}.filler"]
            rows[start + len(local) : start + size, padding] = np.arange(len(local), size) + 1
            self._mark_grid(rows[start : start + len(local)], slot, np.arange(len(local)))
        return ids, self._with_positions(rows, layout, np.arange(length))

    def window_conditions(
        self, layout: Layout, conditions: Mapping[str, np.ndarray], start: int, total: int
    ) -> Mapping[str, np.ndarray]:
        """Cut sliding conditions, such as lyrics, to the part of a window.

        Args:
            layout: `Layout` of the sequence.
            conditions: complete local ids NumPy int64 [T] by slot.
            start: number of the first target token of the window.
            total: number of target tokens of the piece.

        Returns:
            Local ids int64 by slot, for the time of all tokens that the window predicts: from the first one to the one
            after the last that is fed.
        """
        end = max(start, min(start + self.target_capacity(layout) + 1, total))
        return slide_conditions(layout, self.tokenizers, conditions, start, end, max(total, end))

    def upsampling_coords(
        self, layout: Layout, conditions: Sequence[Mapping[str, np.ndarray]]
    ) -> UpsamplingCoords | None:
        """Prepare the upsampling condition of some items.

        Args:
            layout: `Layout` of the items.
            conditions: for each item, local ids NumPy int64 [T] by slot.

        Returns:
            Coordinates to `mark` in the items' rows; None for a layout without an upsampling condition.
        """
        if not layout.target.guide:
            return None
        condition = self.guides[layout.target.name]
        columns = [self._axis_index[f"{layout.target.name}.{axis}"] for axis in condition.axes]
        items = [self.checked(condition.name, item.get(condition.name, ())) for item in conditions]
        return UpsamplingCoords(condition, columns, items)

    def null_conditions(self, conditions: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Null conditions for classifier-free guidance, as condition dropout makes them in training.

        Words are left open, other slots left out.

        Args:
            conditions: local ids NumPy int64 [T] by slot.

        Returns:
            Local ids NumPy int64 [T] by slot, of the slots with words alone.
        """
        nulls = {}
        for slot, ids in conditions.items():
            tokenizer = self.tokenizers.get(slot)
            if isinstance(tokenizer, Words):
                nulls[slot] = tokenizer.drop(self.checked(slot, ids), np.random.default_rng(0), 1.0)
        return nulls

    def last_rows(self, layout: Layout, coords: Coords, origin: Coords, positions: np.ndarray) -> np.ndarray:
        """Compute the coordinate rows of target tokens.

        Args:
            layout: `Layout` of the sequence.
            coords: raw coordinates of N tokens, int64 [N] by axis.
            origin: raw coordinates just before the window by axis: scalars for all tokens, or [N] each.
            positions: of the tokens within the target slot of their window, NumPy int64 [N].

        Returns:
            Coordinate rows NumPy int64 [N, A] on A axes.
        """
        rows = np.zeros((len(positions), len(self.schema.axes)), np.int64)
        automaton = self.automaton(layout)
        if automaton is not None:
            for axis, values in automaton.position(coords, origin).items():
                rows[:, self._axis_index[f"{layout.target.name}.{axis}"]] = np.asarray(values) + 1
        self._mark_grid(rows, layout.target, positions)
        return self._with_positions(rows, layout, positions + layout.prefix)

    def pack(
        self, layout: Layout, example: Mapping[str, np.ndarray], start: int = 0, plan: bool = True
    ) -> PackedSequence:
        """Pack a window of an example, cut at the context.

        Args:
            layout: `Layout` of the sequence.
            example: local ids NumPy int64 [T] by slot.
            start: number of the first target token of the window; coordinates are scanned from the start of the piece.
            plan: False leaves out the coordinates that look ahead, such as the total length.

        Returns:
            The sequence. With the end of the piece in the window, an open or short target ends with `eos`.
        """
        vocabulary, capacity = self.schema.vocabulary, self.target_capacity(layout)
        name, local = layout.target.name, np.asarray(example[layout.target.name], np.int64)
        ids, rows = self.prefix(layout, self.window_conditions(layout, example, start, len(local)))
        window = vocabulary.slice(name).start + self.checked(name, local[start : start + capacity + 1])
        ends = start + capacity + 1 > len(local) and (layout.target.length is None or len(local) < layout.target.length)
        sequence = np.concatenate([ids, window, np.array([vocabulary.eos(name)] * ends, np.int64)])
        fed = len(sequence) - len(ids) - 1
        coords, origin = self._scan(layout, local, start, fed, plan)
        targets = sequence[1:].copy()
        targets[self._padding(layout, ids, example)] = NO_TARGET
        rows = np.concatenate([rows, self.last_rows(layout, coords, origin, np.arange(fed))])
        if upsampling := self.upsampling_coords(layout, [example]):
            following = np.arange(start, start + fed + 1)
            upsampling.mark(rows[layout.prefix - 1 :], np.zeros_like(following), following)
        return PackedSequence(sequence[:-1], rows, targets)

    def target_spans(self, layout: Layout, fed: int) -> list[TargetSpan]:
        """Return the positions that predict each slot.

        Args:
            layout: `Layout` of the sequence.
            fed: number of tokens of the sequence that are fed.

        Returns:
            A span for each slot of the layout, in order.
        """
        spans = []
        for slot in layout.slots:
            start = layout.starts[slot.name]
            end = fed + 1 if slot is layout.target else start + (slot.length or 0)
            spans.append(TargetSpan(slot.name, slice(start - 1, end - 1), self.schema.vocab_slice(slot)))
        return spans

    def checked(self, name: str, local: ArrayLike) -> np.ndarray:
        """Check the local ids of a slot.

        Args:
            name: of the slot.
            local: integers [T].

        Returns:
            Local ids NumPy int64 [T].

        Raises:
            ValueError: another number of dimensions, another type, or ids outside the block.
        """
        ids, size = np.asarray(local), len(self.schema.blocks[name])
        if ids.ndim != 1 or (len(ids) and ids.dtype.kind not in "iu"):
            raise ValueError(f"slot {name}: ids must be whole numbers in a row, got {ids.dtype} {ids.shape}")
        if len(ids) and (ids.min() < 0 or ids.max() >= size):
            raise ValueError(f"slot {name}: ids must be 0 .. {size - 1}, got {ids.min()} .. {ids.max()}")
        return ids.astype(np.int64, copy=False)

    def _mark_grid(self, rows: np.ndarray, slot: Slot, positions: np.ndarray) -> None:
        """Write the grid coordinates of tokens to their rows, in place, if the slot is a grid."""
        if slot.grid and len(positions):
            for axis, values in zip(slot.grid, np.unravel_index(positions, tuple(slot.grid.values()))):
                rows[:, self._axis_index[f"{slot.name}.{axis}"]] = values + 1

    def _with_positions(self, rows: np.ndarray, layout: Layout, position: np.ndarray) -> np.ndarray:
        """Write positions in the sequence to rows, and offset each axis to its rows of the one table."""
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

    def _padding(self, layout: Layout, ids: np.ndarray, example: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the positions whose target is padding: after a slot's first `eos`, or in a slot that is left out."""
        positions = []
        for slot in layout.slots[:-1]:
            start, size = layout.starts[slot.name], slot.length or 0
            eos = np.flatnonzero(ids[start : start + size] == self.schema.vocabulary.eos(slot.name))
            positions.extend(start - 1 + (eos[1:] if slot.name in example else eos))
        return np.asarray(positions, np.int64)
