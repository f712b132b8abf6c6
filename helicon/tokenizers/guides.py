"""Conditions that depend on a token's position in the piece: upsampling conditions, and texts of which a window slides.

The target of an upsampler, such as `audio@above`, is generated from coarser tokens of the same sound, each of which
covers `ratio` target tokens. These are not fed. Instead the token before target number p has as coordinates the context
of coarse token p // ratio, the 9 around it, and the phase p % ratio. The sum of their embeddings is a convolution of
width 9 over the coarse tokens, as in Jukebox's upsamplers (arXiv:2005.00341, section 4).

Shapes: B items, M coarse tokens, N tokens fed, A coordinate axes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from helicon.sequence.layout import Layout, Slot
from helicon.tokenizers.abilities import Sliding
from helicon.tokenizers.base import Tokenizer, rate_of

SIDE = 4  # coarse tokens of the context before, and after, the one that covers the next token
CONTEXT = range(-SIDE, SIDE + 1)  # offsets of the context


@dataclass(frozen=True)
class UpsamplingCondition:
    """Upsampling condition of a target slot.

    Attributes:
        name: slot of the coarse tokens.
        tokens: size of its block.
        ratio: target tokens that a coarse token covers.
    """

    name: str
    tokens: int
    ratio: int

    @staticmethod
    def of(layout: Layout, tokenizers: Mapping[str, Tokenizer]) -> UpsamplingCondition:
        """Make the condition of a layout whose target has one.

        Args:
            layout: `Layout` with a guide, the slot of coarse tokens.
            tokenizers: `Tokenizer` by slot.

        Returns:
            The condition.

        Raises:
            ValueError: a tokenizer has no constant rate, or the rates are no multiples.
        """
        target, name = layout.target.name, str(layout.target.guide)
        fine, coarse = (rate_of(tokenizers.get(slot)) for slot in (target, name))
        if fine is None or coarse is None:
            raise ValueError(f"layout {str(layout)!r}: {target} and {name} need tokenizers of a constant rate")
        ratio = round(fine / coarse)
        if ratio < 1 or abs(ratio * coarse - fine) > 1e-6 * fine:
            rates = f"{fine:g} tokens of {target} a second are no multiple of {coarse:g} of {name}"
            raise ValueError(f"layout {str(layout)!r}: {rates}")
        return UpsamplingCondition(name, len(tokenizers[name].block), ratio)

    @property
    def axes(self) -> dict[str, int]:
        """Table size of each coordinate axis of the target by name, without row 0, which stands for no coarse token."""
        return {f"guide{offset:+}": self.tokens for offset in CONTEXT} | {"phase": self.ratio}

    def length(self, conditions: Mapping[str, np.ndarray]) -> int | None:
        """Return how many target tokens the coarse tokens cover; None when they are left out.

        Args:
            conditions: local ids NumPy int64 [T] by slot.
        """
        return len(conditions.get(self.name, ())) * self.ratio or None


def upsampling_conditions(
    layouts: Iterable[Layout], tokenizers: Mapping[str, Tokenizer]
) -> dict[str, UpsamplingCondition]:
    """Collect the upsampling conditions of a model.

    Args:
        layouts: `Layout`s of the model.
        tokenizers: `Tokenizer` by slot.

    Returns:
        `UpsamplingCondition` by target slot, of the targets that have one.

    Raises:
        ValueError: layouts have different conditions for one target.
    """
    conditions: dict[str, UpsamplingCondition] = {}
    for layout in layouts:
        if layout.target.guide:
            condition = UpsamplingCondition.of(layout, tokenizers)
            other = conditions.setdefault(layout.target.name, condition)
            if other != condition:
                raise ValueError(
                    f"layout {str(layout)!r}: {layout.target.name} has the guide {other.name} in another layout"
                )
    return conditions


class UpsamplingCoords:
    """Upsampling coordinates of the tokens of B items."""

    def __init__(self, condition: UpsamplingCondition, columns: Sequence[int], items: Sequence[np.ndarray]) -> None:
        """Prepare the coarse tokens of some items.

        Args:
            condition: of the target slot.
            columns: column of each of `condition.axes` in the coordinates of a token.
            items: coarse tokens int64 [M] of each item, from the start of the piece; empty for an item without.
        """
        self.condition, self.columns = condition, list(columns)
        longest = max(map(len, items))
        self._conditioned = np.array([len(codes) > 0 for codes in items])
        self._rows = np.zeros((len(items), SIDE + longest + 1), np.int64)  # padded to both sides
        for row, codes in zip(self._rows, items):
            row[SIDE : SIDE + len(codes)] = codes + 1

    def mark(self, rows_NA: np.ndarray, items_N: np.ndarray, next_N: np.ndarray) -> None:
        """Add the upsampling coordinates to coordinate rows, in place.

        Row 0 of an axis stays where there is no coarse token; for an item without condition that of all axes.

        Args:
            rows_NA: table rows of N tokens on A axes, NumPy int64 [N, A].
            items_N: index of each token's item, NumPy int64 [N].
            next_N: number, from 0, within its piece of the target token that follows each, NumPy int64 [N].
        """
        indices_NT = next_N[:, None] // self.condition.ratio + np.arange(len(CONTEXT))
        context_NT = self._rows[items_N[:, None], indices_NT.clip(max=self._rows.shape[1] - 1)]
        phase_N = (next_N % self.condition.ratio + 1) * self._conditioned[items_N]
        rows_NA[:, self.columns] += np.concatenate([context_NT, phase_N[:, None]], axis=1)


def sliding(layout: Layout, tokenizers: Mapping[str, Tokenizer]) -> list[Slot]:
    """List the conditions of which each window sees a part: those with a `Sliding` tokenizer.

    Args:
        layout: `Layout` of the conditions.
        tokenizers: `Tokenizer` by slot.

    Returns:
        `Slot`s of the layout; none when target tokens have no constant duration, so that a window's time is unknown.
    """
    if rate_of(tokenizers[layout.target.name]) is None:
        return []
    return [slot for slot in layout.slots[:-1] if isinstance(tokenizers[slot.name], Sliding)]


def most_ids(layout: Layout, tokenizers: Mapping[str, Tokenizer]) -> dict[str, int | None]:
    """Return how many ids an example may have for each slot.

    Args:
        layout: `Layout` of the example.
        tokenizers: `Tokenizer` by slot.

    Returns:
        Number by slot; None for any number: open slots, upsampling conditions and sliding conditions.
    """
    unbounded = {slot.name for slot in sliding(layout, tokenizers)}
    lengths = {slot.name: slot.length for slot in layout.slots if slot.name not in unbounded}
    return {slot: lengths.get(slot) for slot in layout.all_slots}


def slide_conditions(
    layout: Layout, tokenizers: Mapping[str, Tokenizer], conditions: Mapping[str, np.ndarray],
    start: int, end: int, total: int,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Cut sliding conditions to the part that belongs to a window.

    Args:
        layout: `Layout` of the conditions.
        tokenizers: `Tokenizer` by slot.
        conditions: complete local ids NumPy int64 [T] by slot.
        start: number of the first target token of the window.
        end: number of the target token after the window's last.
        total: number of target tokens of the piece.

    Returns:
        Local ids int64 by slot; those of other conditions unchanged.
    """
    windowed, rate = dict(conditions), rate_of(tokenizers[layout.target.name])
    for slot in layout.slots[:-1]:
        tokenizer = tokenizers[slot.name]
        if rate is not None and isinstance(tokenizer, Sliding) and slot.name in conditions:
            ids, length = conditions[slot.name], slot.length or 0
            windowed[slot.name] = tokenizer.slide(ids, start / rate, end / rate, total / rate, length)
    return windowed
