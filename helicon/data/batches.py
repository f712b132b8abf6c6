"""Batch t from the corpora: a function of (data, seed, t) alone.

Shapes: P pieces, T tokens of the longest of them, A coordinate axes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from helicon.data.collate import Windows, gather
from helicon.data.corpus import Corpus
from helicon.data.numbered import NumberedBatches
from helicon.data.packing import Batches
from helicon.data.pairs import PairStream, pair_windows
from helicon.data.windows import WindowTable
from helicon.modalities import registry
from helicon.modalities.trial import wrong_ids
from helicon.objectives.base import NO_LABEL, Batch, Examples
from helicon.plugins.errors import place_of
from helicon.plugins.plugin import PluginError
from helicon.sequence.layout import Layout
from helicon.tokenizers.abilities import Augmentable, Words
from helicon.tokenizers.augment import AugmentationRanges
from helicon.tokenizers.sequencer import NO_TARGET, PackedSequence, Sequencer

TRIES = 4  # to draw a change after which a piece has room in its windows


@dataclass(frozen=True)
class Variation:
    """How training examples vary.

    ranges: modality -> what its random changes (transposition, tempo, crop ...) are drawn from, if there are any.
    drop: how often a condition is left out, each word of a style by itself. plan: how often the model is told where
    in the piece it is.
    """

    ranges: Mapping[str, AugmentationRanges] = field(default_factory=dict)
    drop: float = 0.1
    plan: float = 0.3


NONE = Variation(drop=0.0, plan=0.0)


class WindowStream:
    """The endless training windows of one corpus: in each epoch every token of every piece is a target once.

    A piece is drawn anew in each epoch, alike for all of its windows: its variant, its random change, where it is cut.
    What is left out of the conditions, and whether the plan is told, is drawn for each window.

    A batch has `batch` sequences where they fill the context. Where an open slot leaves them shorter, more of them take
    their place, as many as there is room for in the same tokens.

    labels: number of each example's label; those without one are left out, and so is every piece's condition.
    """

    def __init__(
        self, corpus: Corpus, sequencer: Sequencer, layout: Layout, seed: int, batch: int, how: Variation,
        labels: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        self.corpus, self.sequencer, self.layout, self.how = corpus, sequencer, layout, how
        self.batch, self.labels = batch, labels
        self.examples = chosen_examples(corpus, val=False, labels=labels)
        longest, size = corpus.longest(layout.target.name)[self.examples], sequencer.target_capacity(layout) + 1
        self.windows = WindowTable.of(self._targets(longest), size)
        fed = layout.prefix - 1 + self.windows.targets
        self.batches = Batches(np.arange(len(fed)), fed, batch, layout.prefix - 1 + size, seed)
        self.limits = self.batches.limits - (layout.prefix - 1)  # targets of each window
        self._rng = np.random.Generator(np.random.Philox(key=seed))
        self._state = self._rng.bit_generator.state

    def rows(self, t: int) -> list[tuple[int, int]]:
        """(number in the stream, window) of batch t, of like lengths."""
        return self.batches.rows(t)

    def example(self, window: int) -> int:
        """Number, in the corpus, of the example that a window is of."""
        return int(self.examples[self.windows.pieces[window]])

    def windows_at(self, number: int, window: int) -> Windows:
        """What a batch has of a window that comes at that number."""
        return ((self.example(window), self.window(number, window)),)

    @property
    def sequences(self) -> int:
        """Of the full context that a batch stands for."""
        return self.batch

    def window(self, number: int, window: int) -> PackedSequence:
        """A window of the table, as it is when it comes at that number."""
        ids, begin, end = self._cut(self.batches.epoch_of(number), window)
        rng = self._draws(number)
        if self.labels is not None:
            ids = unconditioned(self.sequencer, self.layout, ids)
        elif self.how.drop:
            self._drop(ids, rng)
        plan, length = bool(rng.random() < self.how.plan), len(ids[self.layout.target.name])
        packed = self.sequencer.pack(self.layout, ids, min(begin, length), plan)
        fed = self.layout.prefix - 1 + max(1, end - begin)
        if begin == end:  # a change has made the piece too short for it: the conditions alone are fed
            packed.targets[fed - 1] = NO_TARGET
        return PackedSequence(packed.ids[:fed], packed.coord_ids[:fed], packed.targets[:fed])

    def _targets(self, lengths: Any) -> Any:
        """Targets of pieces of so many tokens: `eos` among them, unless a slot is full without."""
        return lengths + 1 if self.layout.target.length is None else np.minimum(lengths + 1, self.layout.target.length)

    def _cut(self, epoch: int, window: int) -> tuple[dict[str, np.ndarray], int, int]:
        """The piece of a window as it is in an epoch; the first target of the window, and that after its last.

        A change that makes a piece longer than its windows hold is drawn again, and at last not made.
        """
        piece, name = int(self.windows.pieces[window]), self.layout.target.name
        rng = self._draws(epoch, piece + 1)
        plain, room = self.corpus.example(self.example(window), rng), self.windows.capacity(piece, self.limits)
        tries = range(TRIES if self.how.ranges else 0)
        changed = (augmented(self.sequencer, dict(plain), rng, self.how.ranges) for _ in tries)
        ids = next((ids for ids in changed if self._targets(len(ids[name])) <= room), plain)
        return ids, *self.windows.cut(window, int(self._targets(len(ids[name]))), self.limits, rng)

    def _draws(self, number: int, piece: int = 0) -> np.random.Generator:
        """Those of a window or, from 1 on, of a piece in an epoch: a function of (seed, number, piece).

        They are counted to, which takes no time, instead of seeded anew.
        """
        self._state["state"]["counter"][1:3] = number, piece
        self._rng.bit_generator.state = self._state  # whose pickled copy is not that of a bit generator beside it
        return self._rng

    def _drop(self, ids: dict[str, np.ndarray], rng: np.random.Generator) -> None:
        """Leaves out some of what is known: words of a style one by one, other conditions as a whole."""
        for slot, tokenizer in self.sequencer.tokenizers.items():
            if slot in ids and isinstance(tokenizer, Words):
                ids[slot] = tokenizer.drop(self.sequencer.checked(slot, ids[slot]), rng, self.how.drop)
            elif slot in ids and slot != self.layout.target.name and rng.random() < self.how.drop:
                del ids[slot]


def chosen_examples(corpus: Corpus, val: bool, labels: np.ndarray | None = None) -> np.ndarray:
    """Numbers of the held-out examples, or of those to train on: where labels are learned, of those that have one."""
    found = corpus.select(val)
    return found if labels is None else found[labels[found] != NO_LABEL]


def unconditioned(sequencer: Sequencer, layout: Layout, ids: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """An example without its conditions, of which some may tell its label: words are left open, other slots out."""
    found = {layout.target.name: ids[layout.target.name]}
    for slot in layout.slots[:-1]:
        tokenizer = sequencer.tokenizers[slot.name]
        if isinstance(tokenizer, Words):
            found[slot.name] = tokenizer.encode(tokenizer.parse(""))[: slot.length]
    return found


def augmented(
    sequencer: Sequencer, ids: dict[str, np.ndarray], rng: np.random.Generator, ranges: Mapping[str, AugmentationRanges]
) -> dict[str, np.ndarray]:
    """Every slot of one medium varied alike: its notes transposed and its tempo word moved by the same augmentation.

    ValueError for ids that a slot's block does not have, as PluginError for those that a tokenizer gives.
    """
    drawn: dict[str, Any] = {}
    for slot in list(ids):
        tokenizer = sequencer.tokenizers[slot]
        if not isinstance(tokenizer, Augmentable):
            continue
        name = registry.for_slot(slot, ids).name
        if name not in ranges:
            continue
        if name not in drawn:
            drawn[name] = ranges[name].draw(rng)
        ids[slot] = tokenizer.augment(sequencer.checked(slot, ids[slot]), drawn[name])
        if wrong := wrong_ids(ids[slot], len(tokenizer.block)):
            raise PluginError(f"{place_of(tokenizer.augment)}: augment gives {wrong}")
    return ids


class TrainBatches(NumberedBatches[Batch]):
    """Batches `first`, `first + 1`, ... without end; layouts take turns.

    Of each batch a process of several takes every `world`-th piece from `rank` on.
    """

    def __init__(
        self, streams: Sequence[WindowStream | PairStream], first: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        self.streams, self.first, self.rank, self.world = list(streams), first, rank, world

    def batch(self, t: int) -> Batch:
        """Batch t, or this process' share of it."""
        index = t % len(self.streams)
        stream = self.streams[index]
        rows = stream.rows(t // len(self.streams))[self.rank :: self.world]
        items = [stream.windows_at(number, window) for number, window in rows]
        return gather(index, items, stream.labels, stream.sequences // self.world)

    @property
    def epoch(self) -> int:
        """As many as the layout with the most windows needs, since layouts take turns."""
        return len(self.streams) * max(stream.batches.epoch for stream in self.streams)


def held_out_windows(
    corpus: Corpus, sequencer: Sequencer, layout: Layout, examples: Examples = "sequences",
    labels: np.ndarray | None = None,
) -> Iterator[Windows]:  # fmt: skip
    """`scored_windows` of all held-out examples, or all held-out pairs."""
    if examples == "pairs":
        for pair in corpus.select_pairs(val=True):
            yield pair_windows(corpus, sequencer, layout, pair)
        return
    for example in map(int, chosen_examples(corpus, val=True, labels=labels)):
        for window in scored_windows(corpus, sequencer, layout, example, labels is not None):
            yield ((example, window),)


def scored_windows(
    corpus: Corpus, sequencer: Sequencer, layout: Layout, example: int, blind: bool = False
) -> Iterator[PackedSequence]:  # fmt: skip
    """Windows in which every token of an example is a target once, with half a window before it where it can.

    blind: whether its conditions are left out.
    """
    room, name = sequencer.target_capacity(layout), layout.target.name
    half = max(1, room // 2)
    ids = corpus.example(example)
    ids = unconditioned(sequencer, layout, ids) if blind else ids
    length = len(ids[name])
    start, known = 0, 0  # `known` targets of the last slot are scored already
    while True:
        packed = sequencer.pack(layout, ids, start, plan=False)
        targets = packed.targets.copy()
        if start:
            targets[: layout.prefix - 1 + known - start] = NO_TARGET
        yield PackedSequence(packed.ids, packed.coord_ids, targets)
        known = start + room + 1
        if layout.target.length is not None or known > length:
            break
        start = min(start + half, max(0, length - room))
