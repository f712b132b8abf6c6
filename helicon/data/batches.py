"""Batch t from the corpora: a function of (data, seed, t) alone.

Shapes: B sequences, T tokens of the longest of them, A coordinate axes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from helicon.data.corpus import Corpus
from helicon.modalities import registry
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import NO_TARGET, Packed, Sequencer

GROUP = 16  # batches among which sequences are sorted by length, to waste little on padding


class Batch(NamedTuple):
    """One layout's sequences: ids [B, T], rows [B, T, A], targets [B, T] (NO_TARGET: nothing to learn)."""

    layout: int
    ids: Tensor
    rows: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Variation:
    """How training examples vary. augment: whether the media change (transposition, tempo ...).

    changes: ranges of these changes, by name, where the medium's own do not suit.
    drop: how often a condition is left out, each word of a style by itself. plan: how often the model is told where
    in the piece it is.
    """

    augment: bool = True
    drop: float = 0.1
    plan: float = 0.3
    changes: Mapping[str, Any] = field(default_factory=dict)


NONE = Variation(augment=False, drop=0.0, plan=0.0)


def collate(index: int, packed: Sequence[Packed]) -> Batch:
    """Pads sequences of one layout to the longest; a pad repeats row 0 and is never a target."""
    longest = max(len(p.ids) for p in packed)
    ids = np.zeros((len(packed), longest), np.int64)
    rows = np.zeros((len(packed), longest, packed[0].rows.shape[1]), np.int64)
    targets = np.full((len(packed), longest), NO_TARGET, np.int64)
    for i, p in enumerate(packed):
        ids[i, : len(p.ids)], rows[i, : len(p.ids)], targets[i, : len(p.ids)] = p.ids, p.rows, p.targets
    return Batch(index, torch.from_numpy(ids), torch.from_numpy(rows), torch.from_numpy(targets))


class Epochs:
    """Items without end: every epoch has each of them once, in an order of its own that depends on (seed, epoch)."""

    def __init__(self, items: np.ndarray, seed: int) -> None:
        self.items, self.seed = items, seed
        self._orders: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        """Items of an epoch."""
        return len(self.items)

    def at(self, numbers: np.ndarray) -> np.ndarray:
        """The items of consecutive numbers."""
        first, last = numbers[0] // len(self), numbers[-1] // len(self)
        orders = np.concatenate([self._order(epoch) for epoch in range(first, last + 1)])
        return orders[numbers - first * len(self)]

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            order = np.random.default_rng((self.seed, 0, epoch)).permutation(self.items)
            self._orders = {**{e: o for e, o in self._orders.items() if e >= epoch - 2}, epoch: order}
        return self._orders[epoch]


class Stream:
    """The endless sequence of training windows of one corpus: each epoch visits every window of every example once."""

    def __init__(
        self, corpus: Corpus, sequencer: Sequencer, layout: Layout, seed: int, batch: int, how: Variation
    ) -> None:
        self.corpus, self.sequencer, self.layout = corpus, sequencer, layout
        self.seed, self.batch, self.how = seed, batch, how
        self.room = sequencer.room(layout)
        self.train = corpus.select(held=False)
        self.lengths = np.asarray(corpus.lengths(layout.last.name))
        # room + 1 targets fit into a window; the target after the last token is `stop`
        whole = layout.last.length is not None
        windows = 1 if whole else np.maximum(1, -(-(self.lengths[self.train] + 1) // (self.room + 1)))
        self.windows = np.repeat(self.train, windows)
        self.epochs = Epochs(self.windows, seed)
        self._group: tuple[int, np.ndarray] | None = None

    def rows(self, t: int) -> list[tuple[int, int]]:
        """(number in the stream, example) of batch t: neighbours in length within a group of batches."""
        group, place = divmod(t, GROUP)
        if self._group is None or self._group[0] != group:
            self._group = group, self._batches(group)
        return [(int(number), int(example)) for number, example in self._group[1][place]]

    def _batches(self, group: int) -> np.ndarray:
        """(number, example) of a group of batches, int64 [GROUP, batch, 2]."""
        numbers = np.arange(group * GROUP * self.batch, (group + 1) * GROUP * self.batch)
        examples = self.epochs.at(numbers)
        by_length = np.argsort(np.minimum(self.lengths[examples], self.room), kind="stable")
        rows = np.stack([numbers, examples], axis=1)[by_length].reshape(GROUP, self.batch, 2)
        return rows[np.random.default_rng((self.seed, 1, group)).permutation(GROUP)]

    def window(self, number: int, example: int) -> Packed:
        """The window of that number, with its own random changes."""
        rng = np.random.default_rng((self.seed, 2, number))
        ids = self.corpus.example(example, rng)
        if self.how.augment:
            ids = augmented(self.sequencer, ids, rng, self.how.changes)
        if self.how.drop:
            self._drop(ids, rng)
        length = len(ids[self.layout.last.name])
        last = max(0, length - self.room) if self.layout.last.length is None else 0
        # Beyond the ends and clipped back, so that beginnings and endings are seen as often as the middle
        start = int(np.clip(rng.integers(-self.room // 2, last + self.room // 2 + 1), 0, last))
        return self.sequencer.pack(self.layout, ids, start, plan=bool(rng.random() < self.how.plan))

    def _drop(self, ids: dict[str, np.ndarray], rng: np.random.Generator) -> None:
        """Leaves out some of what is known: words of a style one by one, other conditions as a whole."""
        for slot, tokenizer in self.sequencer.tokenizers.items():
            if slot in ids and hasattr(tokenizer, "drop"):
                ids[slot] = tokenizer.drop(ids[slot], rng, self.how.drop)  # type: ignore[attr-defined]
            elif slot in ids and slot != self.layout.last.name and rng.random() < self.how.drop:
                del ids[slot]


def augmented(
    sequencer: Sequencer, ids: dict[str, np.ndarray], rng: np.random.Generator, ranges: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Every slot of one medium changed alike: its notes transposed and its tempo word moved by the same change."""
    changes = {}
    for slot in list(ids):
        modality, tokenizer = registry.for_slot(slot, ids), sequencer.tokenizers[slot]
        if modality.draw_change is None or not hasattr(tokenizer, "augment"):
            continue
        if modality.name not in changes:
            changes[modality.name] = modality.draw_change(rng, **ranges)
        ids[slot] = tokenizer.augment(ids[slot], changes[modality.name])  # type: ignore[attr-defined]
    return ids


class TrainBatches(IterableDataset[Batch]):
    """Batches `first`, `first + 1`, ... without end; layouts take turns.

    Of each batch a process of several takes every `world`-th sequence from `rank` on.
    """

    def __init__(self, streams: Sequence[Stream], first: int = 0, rank: int = 0, world: int = 1) -> None:
        self.streams, self.first, self.rank, self.world = list(streams), first, rank, world

    def batch(self, t: int) -> Batch:
        """Batch t, or this process' share of it."""
        index = t % len(self.streams)
        stream = self.streams[index]
        rows = stream.rows(t // len(self.streams))[self.rank :: self.world]
        return collate(index, [stream.window(number, example) for number, example in rows])

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        step, t = (worker.num_workers, self.first + worker.id) if worker else (1, self.first)
        while True:
            yield self.batch(t)
            t += step


def held_out_windows(corpus: Corpus, sequencer: Sequencer, layout: Layout) -> Iterator[Packed]:
    """`scored_windows` of all held-out examples."""
    for example in corpus.select(held=True):
        yield from scored_windows(corpus, sequencer, layout, int(example))


def scored_windows(corpus: Corpus, sequencer: Sequencer, layout: Layout, example: int) -> Iterator[Packed]:
    """Windows in which every token of an example is a target once, with half a window before it where it can."""
    room, name = sequencer.room(layout), layout.last.name
    half = max(1, room // 2)
    ids = corpus.example(example)
    length = len(ids[name])
    start, known = 0, 0  # `known` targets of the last slot are scored already
    while True:
        packed = sequencer.pack(layout, ids, start, plan=False)
        targets = packed.targets.copy()
        if start:
            targets[: layout.prefix - 1 + known - start] = NO_TARGET
        yield Packed(packed.ids, packed.rows, targets)
        known = start + room + 1
        if layout.last.length is not None or known > length:
            break
        start = min(start + half, max(0, length - room))
