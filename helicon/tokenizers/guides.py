"""What a model is told of the stretch of a piece that it makes: the coarser tokens around it, texts that slide.

A guided slot, `audio@above`, is made from the coarser tokens of the same sound, each of which stands for `ratio` of its
own. They are not fed: the token that is followed by number p of the slot is told those around number p // ratio, a
convolution of width 9 over their embeddings (Jukebox's upsamplers: arXiv:2005.00341, section 4), and p % ratio.

Shapes: B items, M coarse tokens, N tokens fed, A coordinate axes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from helicon.sequence.layout import Layout, Slot
from helicon.tokenizers.abilities import Sliding
from helicon.tokenizers.base import Tokenizer, rate_of

REACH = 4  # coarse tokens before and after the one in which the next token stands
TAPS = range(-REACH, REACH + 1)


@dataclass(frozen=True)
class Guide:
    """The slot `name`, of `tokens` in its block, each of which stands for `ratio` tokens of the slot that is made."""

    name: str
    tokens: int
    ratio: int

    @staticmethod
    def of(layout: Layout, tokenizers: Mapping[str, Tokenizer]) -> Guide:
        """That of a layout's last slot; ValueError unless whole numbers of its tokens stand at the guide's."""
        made, name = layout.target.name, str(layout.target.guide)
        fine, coarse = (rate_of(tokenizers.get(slot)) for slot in (made, name))
        if fine is None or coarse is None:
            raise ValueError(f"layout {str(layout)!r}: {made} and {name} need tokenizers of a constant rate")
        ratio = round(fine / coarse)
        if ratio < 1 or abs(ratio * coarse - fine) > 1e-6 * fine:
            told = f"{fine:g} tokens of {made} a second are no multiple of {coarse:g} of {name}"
            raise ValueError(f"layout {str(layout)!r}: {told}")
        return Guide(name, len(tokenizers[name].block), ratio)

    @property
    def axes(self) -> dict[str, int]:
        """Axis of the slot that is made -> size of its table, without the row of what is not there."""
        return {f"guide{tap:+}": self.tokens for tap in TAPS} | {"phase": self.ratio}

    def length(self, given: Mapping[str, np.ndarray]) -> int | None:
        """Tokens of the slot that is made that what is given stands for; None where the guide is left out."""
        return len(given.get(self.name, ())) * self.ratio or None


def guides_of(layouts: Iterable[Layout], tokenizers: Mapping[str, Tokenizer]) -> dict[str, Guide]:
    """Slot that is made -> its guide, of those that have one; ValueError where layouts have different ones for it."""
    found: dict[str, Guide] = {}
    for layout in layouts:
        if layout.target.guide:
            guide = Guide.of(layout, tokenizers)
            other = found.setdefault(layout.target.name, guide)
            if other != guide:
                raise ValueError(
                    f"layout {str(layout)!r}: {layout.target.name} has the guide {other.name} in another layout"
                )
    return found


class GuideRows:
    """The guides of B items as rows of a coordinate table, whose columns `columns` are those of `Guide.axes`."""

    def __init__(self, guide: Guide, columns: Sequence[int], items: Sequence[np.ndarray]) -> None:
        """items: coarse tokens [M] of each; none where an item has no guide."""
        self.guide, self.columns = guide, list(columns)
        longest = max(map(len, items))
        self._told = np.array([len(codes) > 0 for codes in items])
        self._rows = np.zeros((len(items), REACH + longest + 1), np.int64)  # the last column: beyond the end
        for row, codes in zip(self._rows, items):
            row[REACH : REACH + len(codes)] = codes + 1

    def mark(self, rows_NA: np.ndarray, items_N: np.ndarray, next_N: np.ndarray) -> None:
        """Writes into rows of tokens of these items, by the number in its piece of the token that comes next.

        Row 0 of an axis stays where there is no coarse token, and of all of them where there is no guide.
        """
        places_NT = next_N[:, None] // self.guide.ratio + np.arange(len(TAPS))
        taps_NT = self._rows[items_N[:, None], places_NT.clip(max=self._rows.shape[1] - 1)]
        phase_N = (next_N % self.guide.ratio + 1) * self._told[items_N]
        rows_NA[:, self.columns] += np.concatenate([taps_NT, phase_N[:, None]], axis=1)


def sliding(layout: Layout, tokenizers: Mapping[str, Tokenizer]) -> list[Slot]:
    """Conditions of which a window shows what belongs to its stretch of the piece: those with a `Sliding` tokenizer.

    None where the tokens that are made tell no time, since they come at no constant rate.
    """
    if rate_of(tokenizers[layout.target.name]) is None:
        return []
    return [slot for slot in layout.slots[:-1] if isinstance(tokenizers[slot.name], Sliding)]


def most_ids(layout: Layout, tokenizers: Mapping[str, Tokenizer]) -> dict[str, int | None]:
    """Slot -> the ids that an example may have for it, None for any number: of what is open, a guide, or slides."""
    whole = {slot.name for slot in sliding(layout, tokenizers)}
    places = {slot.name: slot.length for slot in layout.slots if slot.name not in whole}
    return {slot: places.get(slot) for slot in layout.all_slots}


def slid(
    layout: Layout, tokenizers: Mapping[str, Tokenizer], given: Mapping[str, np.ndarray],
    start: int, end: int, total: int,
) -> dict[str, np.ndarray]:  # fmt: skip
    """What is given, of conditions that slide what belongs to tokens `start` up to `end` of a piece of `total`."""
    found, rate = dict(given), rate_of(tokenizers[layout.target.name])
    for slot in layout.slots[:-1]:
        tokenizer = tokenizers[slot.name]
        if rate is not None and isinstance(tokenizer, Sliding) and slot.name in given:
            ids, length = given[slot.name], slot.length or 0
            found[slot.name] = tokenizer.slide(ids, start / rate, end / rate, total / rate, length)
    return found
