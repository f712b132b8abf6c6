"""Pairs of examples, of which one was preferred, as batches: a function of (data, seed, t) alone."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from helicon.data.collate import Windows
from helicon.data.corpus import Corpus
from helicon.data.packing import Batches
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import Sequencer


class PairStream:
    """The endless pairs of one corpus, as they are: each once in an epoch, from its beginning to the context's end.

    A batch has `batch` pairs, and more where they are short.
    """

    labels = None

    def __init__(self, corpus: Corpus, sequencer: Sequencer, layout: Layout, seed: int, batch: int) -> None:
        self.corpus, self.sequencer, self.layout, self.batch = corpus, sequencer, layout, batch
        self.pairs = corpus.select_pairs(val=False)
        capacity = sequencer.target_capacity(layout)
        fed = layout.prefix + np.minimum(corpus.lengths(layout.target.name)[self.pairs].max(1), capacity)
        self.batches = Batches(np.arange(len(self.pairs)), fed, batch, layout.prefix + capacity, seed)

    @property
    def sequences(self) -> int:
        """Of the full context that a batch stands for."""
        return 2 * self.batch

    def rows(self, t: int) -> list[tuple[int, int]]:
        """(number in the stream, pair) of batch t, of like lengths."""
        return self.batches.rows(t)

    def windows_at(self, number: int, pair: int) -> Windows:
        """Both of a pair."""
        return pair_windows(self.corpus, self.sequencer, self.layout, self.pairs[pair])


def pair_windows(corpus: Corpus, sequencer: Sequencer, layout: Layout, pair: Iterable[int]) -> Windows:
    """The chosen example and the rejected one, each from its beginning to the context's end."""
    return tuple((int(i), sequencer.pack(layout, corpus.example(int(i)), plan=False)) for i in pair)
