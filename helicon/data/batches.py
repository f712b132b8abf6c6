"""Training batches of token sequences: batch t is a function of (data, seed, t) alone.

Shapes: P sequences of a batch, T tokens of the longest of them, A coordinate axes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from helicon.data.collate import Windows, gather
from helicon.data.corpus import Corpus
from helicon.data.numbered import NumberedBatches
from helicon.data.packing import Batches
from helicon.data.pairs import pair_windows
from helicon.data.windows import WindowTable
from helicon.modalities import registry
from helicon.modalities.trial import ids_fault
from helicon.objectives.base import NO_LABEL, Batch, Examples
from helicon.plugins.errors import place_of
from helicon.plugins.plugin import PluginError
from helicon.sequence.layout import Layout
from helicon.tokenizers.abilities import Augmentable, Words
from helicon.tokenizers.augment import AugmentationRanges
from helicon.tokenizers.sequencer import NO_TARGET, PackedSequence, Sequencer

# Draws of an augmentation until the piece fits into the windows that it has in every epoch; then it stays unchanged
TRIES = 4


@dataclass(frozen=True)
class Variation:
    """Random variation of training examples.

    Attributes:
        ranges: modality -> ranges that its augmentations (transposition, tempo, crop ...) are drawn from; empty for
            none.
        condition_dropout: probability with which a condition is left out, each word of a style by itself.
        plan: probability with which the coordinates that look ahead, such as the total length, are given.
    """

    ranges: Mapping[str, AugmentationRanges] = field(default_factory=dict)
    condition_dropout: float = 0.1
    plan: float = 0.3


NO_VARIATION = Variation(condition_dropout=0.0, plan=0.0)  # examples as they are


class Stream(Protocol):
    """Endless items of one layout in numbered batches."""

    @property
    def labels(self) -> np.ndarray | None:
        """Label number of each example of the corpus, int64 [examples]; None without labels."""
        ...

    @property
    def sequences(self) -> int:
        """Number of full-context sequences that a batch stands for."""
        ...

    @property
    def epoch(self) -> int:
        """Number of batches of an epoch."""
        ...

    def rows(self, t: int) -> list[Any]:
        """Return the items of batch t, each the two arguments of `windows_at`."""
        ...

    def windows_at(self, number: Any, window: Any, /) -> Windows:
        """Return one item of a batch.

        Args:
            number: of the item in the stream.
            window: number of the window, or of the pair.

        Returns:
            `Windows`: one or two (example number, `PackedSequence`).
        """
        ...


class WindowStream:
    """Endless training windows of one corpus: in each epoch every token of every example is a target once.

    The variant, augmentation and cuts of an example are drawn anew in each epoch, the same for all its windows.
    Condition dropout, and whether the plan is given, are drawn for each window.

    A batch has `batch` sequences where they fill the context. Where an open slot leaves them shorter, more of them take
    their place, as many as fit into the same number of tokens.

    Args:
        corpus: token ids, of which the training part is read.
        sequencer: packs the ids of a window.
        layout: of the sequences.
        seed: of order, cuts, augmentation and dropout.
        batch: number of full-context sequences in a batch, over all processes.
        how: augmentation and dropout.
        labels: label number of each example, int64 [examples], for classifiers: examples without a label and all
            conditions are left out then.
        passes: True keeps the batches of each epoch among themselves, for callers that take one epoch at a time.
        origin: number of the source whose examples are read; None for all sources.
    """

    def __init__(
        self, corpus: Corpus, sequencer: Sequencer, layout: Layout, seed: int, batch: int, how: Variation,
        labels: np.ndarray | None = None, passes: bool = False, origin: int | None = None,
    ) -> None:  # fmt: skip
        self.corpus, self.sequencer, self.layout, self.how = corpus, sequencer, layout, how
        self.batch, self.labels = batch, labels
        self.examples = chosen_examples(corpus, val=False, labels=labels, origin=origin)
        longest, size = corpus.longest(layout.target.name)[self.examples], sequencer.target_capacity(layout) + 1
        self.windows = WindowTable.of(self._targets(longest), size)
        fed = layout.prefix - 1 + self.windows.targets
        self.batches = Batches(np.arange(len(fed)), fed, batch, layout.prefix - 1 + size, seed, passes)
        self.limits = self.batches.limits - (layout.prefix - 1)  # targets of each window
        self._rng = np.random.Generator(np.random.Philox(key=seed))
        self._state = self._rng.bit_generator.state

    def rows(self, t: int) -> list[tuple[int, int]]:
        """Return the items of batch t, of similar length: a list of (number in the stream, row of the window table)."""
        return self.batches.rows(t)

    def example(self, window: int) -> int:
        """Return the number, in the corpus, of the example that a window (row of the window table) is cut from."""
        return int(self.examples[self.windows.pieces[window]])

    def windows_at(self, number: int, window: int) -> Windows:
        """Return one item of a batch.

        Args:
            number: of the item in the stream; seeds its random draws.
            window: row of the window table.

        Returns:
            ((example number, `PackedSequence`),): a tuple of one pair.
        """
        return ((self.example(window), self.window(number, window)),)

    @property
    def sequences(self) -> int:
        """Number of full-context sequences that a batch stands for."""
        return self.batch

    @property
    def epoch(self) -> int:
        """Number of batches of an epoch."""
        return self.batches.epoch

    def window(self, number: int, window: int) -> PackedSequence:
        """Pack a window of the table.

        Args:
            number: of the window in the stream; seeds its random draws.
            window: row of the window table.

        Returns:
            A `PackedSequence` of prefix and window, with targets for the window's own tokens only.
        """
        ids, begin, end = self._cut(self.batches.epoch_of(number), window)
        rng = self._draws(number)
        if self.labels is not None:
            ids = unconditioned(self.sequencer, self.layout, ids)
        elif self.how.condition_dropout:
            self._drop(ids, rng)
        plan, length = bool(rng.random() < self.how.plan), len(ids[self.layout.target.name])
        packed = self.sequencer.pack(self.layout, ids, min(begin, length), plan)
        fed = self.layout.prefix - 1 + max(1, end - begin)
        if begin == end:  # a change has made the piece too short for it: the conditions alone are fed
            packed.targets[fed - 1] = NO_TARGET
        return PackedSequence(packed.ids[:fed], packed.coord_ids[:fed], packed.targets[:fed])

    def _targets(self, lengths: Any) -> Any:
        """Return the targets of examples by token count: one more for `eos`, unless a fixed slot is full."""
        return lengths + 1 if self.layout.target.length is None else np.minimum(lengths + 1, self.layout.target.length)

    def _cut(self, epoch: int, window: int) -> tuple[dict[str, np.ndarray], int, int]:
        """Return an example as augmented in an epoch, the first target of the window, and the end of its targets.

        An augmentation that makes an example longer than its windows hold is drawn again, at most TRIES times.
        """
        piece, name = int(self.windows.pieces[window]), self.layout.target.name
        rng = self._draws(epoch, piece + 1)
        plain, room = self.corpus.example(self.example(window), rng), self.windows.capacity(piece, self.limits)
        tries = range(TRIES if self.how.ranges else 0)
        changed = (augmented(self.sequencer, dict(plain), rng, self.how.ranges) for _ in tries)
        ids = next((ids for ids in changed if self._targets(len(ids[name])) <= room), plain)
        return ids, *self.windows.cut(window, int(self._targets(len(ids[name]))), self.limits, rng)

    def _draws(self, number: int, piece: int = 0) -> np.random.Generator:
        """Random generator of a window or, from 1 on, of an example in an epoch: a function of (seed, number, piece).

        Philox is counter-based: setting its counter is much faster than seeding a generator.
        """
        self._state["state"]["counter"][1:3] = number, piece
        self._rng.bit_generator.state = self._state  # a generator and its bit generator are pickled apart
        return self._rng

    def _drop(self, ids: dict[str, np.ndarray], rng: np.random.Generator) -> None:
        """Apply condition dropout in place: words of a style one by one, other conditions completely."""
        for slot, tokenizer in self.sequencer.tokenizers.items():
            if slot in ids and isinstance(tokenizer, Words):
                ids[slot] = tokenizer.drop(self.sequencer.checked(slot, ids[slot]), rng, self.how.condition_dropout)
            elif slot in ids and slot != self.layout.target.name and rng.random() < self.how.condition_dropout:
                del ids[slot]


def chosen_examples(
    corpus: Corpus, val: bool, labels: np.ndarray | None = None, origin: int | None = None
) -> np.ndarray:  # fmt: skip
    """Select the examples of one part of the split.

    Args:
        corpus: `Corpus`, the examples.
        val: True for the validation part, False for the training part.
        labels: label number of each example, NumPy int64 [examples]; examples without a label are left out.
        origin: number of the source that they are from; None for any.

    Returns:
        Numbers of the N chosen examples in the corpus, ascending, NumPy int64 [N].
    """
    examples = corpus.select(val)
    if origin is not None:
        examples = examples[corpus.of_origin(origin)[examples]]
    return examples if labels is None else examples[labels[examples] != NO_LABEL]


def unconditioned(sequencer: Sequencer, layout: Layout, ids: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Remove the conditions of an example, which could give its label away to a classifier.

    Args:
        sequencer: `Sequencer` of the model.
        layout: `Layout` of the sequence.
        ids: slot -> local ids, NumPy int64 [T].

    Returns:
        Slot -> local ids, NumPy int64 [T]: the target slot as it is, words left open, other slots missing.
    """
    example = {layout.target.name: ids[layout.target.name]}
    for slot in layout.slots[:-1]:
        tokenizer = sequencer.tokenizers[slot.name]
        if isinstance(tokenizer, Words):
            example[slot.name] = tokenizer.encode(tokenizer.parse(""))[: slot.length]
    return example


def augmented(
    sequencer: Sequencer, ids: dict[str, np.ndarray], rng: np.random.Generator, ranges: Mapping[str, AugmentationRanges]
) -> dict[str, np.ndarray]:
    """Augment all slots of a medium alike: its notes are transposed and its tempo word moved by the same draw.

    Args:
        sequencer: `Sequencer` of the model.
        ids: slot -> local ids, NumPy int64 [T]; the dict is changed in place.
        rng: of the draws.
        ranges: modality -> ranges of its augmentation; other modalities stay as they are.

    Returns:
        `ids`, the same dict.

    Raises:
        ValueError: ids that a slot's block does not have.
        PluginError: a tokenizer's `augment` returned such ids.
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
        if fault := ids_fault(ids[slot], len(tokenizer.block)):
            raise PluginError(f"{place_of(tokenizer.augment)}: augment gives {fault}")
    return ids


class TrainBatches(NumberedBatches[Batch]):
    """Endless training batches from number `first` on; layouts take turns.

    Args:
        streams: one for each layout, of one source or of several.
        first: number of the first batch, for resuming.
        rank: of this process; it takes every `world`-th item of a batch from `rank` on.
        world: number of processes.
    """

    def __init__(self, streams: Sequence[Stream], first: int = 0, rank: int = 0, world: int = 1) -> None:
        self.streams, self.first, self.rank, self.world = list(streams), first, rank, world

    def batch(self, t: int) -> Batch:
        """Return batch t, a `Batch`: of several processes, the part of this one."""
        index = t % len(self.streams)
        stream = self.streams[index]
        rows = stream.rows(t // len(self.streams))[self.rank :: self.world]
        items = [stream.windows_at(number, window) for number, window in rows]
        return gather(index, items, stream.labels, stream.sequences // self.world)

    @property
    def epoch(self) -> int:
        """Number of batches of an epoch, as many as the layout with the most windows needs."""
        return len(self.streams) * max(stream.epoch for stream in self.streams)


def val_windows(
    corpus: Corpus, sequencer: Sequencer, layout: Layout, examples: Examples = "sequences",
    labels: np.ndarray | None = None,
) -> Iterator[Windows]:  # fmt: skip
    """Pack all windows of the validation part.

    Args:
        corpus: `Corpus`, the examples.
        sequencer: `Sequencer` of the model.
        layout: `Layout` of the sequences.
        examples: `Examples`, kind of example; `pairs` gives preference pairs, all others single windows.
        labels: label number of each example, NumPy int64 [examples], for classifiers: conditions and examples without a
            label are left out.

    Yields:
        ((example number, `PackedSequence`),), or for pairs two of these: the chosen and the rejected side.
    """
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
    """Cut an example into windows in which each of its tokens is a target once.

    Windows overlap by half, so that a scored token has at least half a window before it, except at the beginning.

    Args:
        corpus: `Corpus`, the examples.
        sequencer: `Sequencer` of the model.
        layout: `Layout` of the sequence.
        example: number of the example.
        blind: True leaves out the conditions.

    Yields:
        `PackedSequence`s; tokens scored before have no target.
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
