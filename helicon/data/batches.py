"""Batch t from the corpora: a function of (data, seed, t) alone.

Shapes: P pieces, T tokens of the longest of them, A coordinate axes.
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
from helicon.data.packing import Batches
from helicon.modalities import registry
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import NO_TARGET, Packed, Sequencer


class Batch(NamedTuple):
    """One layout's pieces: ids [P, T], rows [P, T, A], targets [P, T] (NO_TARGET: nothing to learn), lengths [P].

    All int64. Each piece is a sequence of its own, filled up on the right to the longest of them.
    """

    layout: int
    ids: Tensor
    rows: Tensor
    targets: Tensor
    lengths: Tensor


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
    lengths = np.array([len(p.ids) for p in packed], np.int64)
    real = np.arange(lengths.max()) < lengths[:, None]
    ids, targets = np.zeros(real.shape, np.int64), np.full(real.shape, NO_TARGET, np.int64)
    rows = np.zeros((*real.shape, packed[0].rows.shape[1]), np.int64)
    ids[real] = np.concatenate([p.ids for p in packed])
    rows[real] = np.concatenate([p.rows for p in packed])
    targets[real] = np.concatenate([p.targets for p in packed])
    return Batch(index, *map(torch.from_numpy, (ids, rows, targets, lengths)))


class Stream:
    """The endless sequence of training windows of one corpus: each epoch visits every window of every example once.

    A batch has `batch` sequences where they fill the context. Where an open slot leaves them shorter, more of them take
    their place, as many as there is room for in the same tokens.
    """

    def __init__(
        self, corpus: Corpus, sequencer: Sequencer, layout: Layout, seed: int, batch: int, how: Variation
    ) -> None:
        self.corpus, self.sequencer, self.layout, self.how = corpus, sequencer, layout, how
        self.room = sequencer.room(layout)
        train = corpus.select(held=False)
        lengths = corpus.longest(layout.last.name)
        # room + 1 targets fit into a window; the target after the last token is `stop`
        whole = layout.last.length is not None
        windows = 1 if whole else np.maximum(1, -(-(lengths[train] + 1) // (self.room + 1)))
        self.train = np.repeat(train, windows)
        fed = layout.prefix + np.minimum(lengths[self.train], self.room)
        self.batches = Batches(self.train, fed, batch, layout.prefix + self.room, seed)
        self._rng = np.random.Generator(np.random.Philox(key=seed))
        self._state = self._rng.bit_generator.state

    def rows(self, t: int) -> list[tuple[int, int]]:
        """(number in the stream, example) of batch t, of like lengths."""
        return self.batches.rows(t)

    def window(self, number: int, example: int) -> Packed:
        """The window of that number, with its own random changes."""
        rng = self._draws(number)
        ids = self.corpus.example(example, rng)
        if self.how.augment:
            ids = augmented(self.sequencer, ids, rng, self.how.changes)
        if self.how.drop:
            self._drop(ids, rng)
        limit = self.batches.limit(number)
        room, length = min(self.room, limit - self.layout.prefix), len(ids[self.layout.last.name])
        last = max(0, length - room) if self.layout.last.length is None else 0
        # Beyond the ends and clipped back, so that beginnings and endings are seen as often as the middle
        start = min(max(0, int(rng.integers(-room // 2, last + room // 2 + 1))), last)
        packed = self.sequencer.pack(self.layout, ids, start, plan=bool(rng.random() < self.how.plan))
        return Packed(packed.ids[:limit], packed.rows[:limit], packed.targets[:limit])

    def _draws(self, number: int) -> np.random.Generator:
        """Those of a window, a function of (seed, number): counted to, which takes no time, instead of seeded anew."""
        self._state["state"]["counter"][1] = number
        self._rng.bit_generator.state = self._state  # whose pickled copy is not that of a bit generator beside it
        return self._rng

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
        tokenizer = sequencer.tokenizers[slot]
        if not hasattr(tokenizer, "augment"):
            continue
        modality = registry.for_slot(slot, ids)
        if modality.draw_change is None:
            continue
        if modality.name not in changes:
            changes[modality.name] = modality.draw_change(rng, **ranges)
        ids[slot] = tokenizer.augment(ids[slot], changes[modality.name])  # type: ignore[attr-defined]
    return ids


class TrainBatches(IterableDataset[Batch]):
    """Batches `first`, `first + 1`, ... without end; layouts take turns.

    Of each batch a process of several takes every `world`-th piece from `rank` on.
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
