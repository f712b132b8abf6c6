"""Batches of preference pairs: batch t is a function of (data, seed, t) alone."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from helicon.data.collate import Windows
from helicon.data.corpus import Corpus
from helicon.data.packing import Batches
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import Sequencer


class PairStream:
    """Endless preference pairs of one corpus, unaugmented: each once in an epoch, cut at the context.

    A batch has `batch` pairs, and more where they are short.

    Args:
        corpus: examples and pairs, of which the training part is read.
        sequencer: packs the ids.
        layout: of the sequences.
        seed: of the order.
        batch: number of full-context pairs in a batch, over all processes.
    """

    labels: np.ndarray | None = None

    def __init__(self, corpus: Corpus, sequencer: Sequencer, layout: Layout, seed: int, batch: int) -> None:
        self.corpus, self.sequencer, self.layout, self.batch = corpus, sequencer, layout, batch
        self.pairs = corpus.select_pairs(val=False)
        capacity = sequencer.target_capacity(layout)
        fed = layout.prefix + np.minimum(corpus.lengths(layout.target.name)[self.pairs].max(1), capacity)
        self.batches = Batches(np.arange(len(self.pairs)), fed, batch, layout.prefix + capacity, seed)

    @property
    def sequences(self) -> int:
        """Number of full-context sequences that a batch stands for, two for each pair."""
        return 2 * self.batch

    @property
    def epoch(self) -> int:
        """Number of batches of an epoch."""
        return self.batches.epoch

    def rows(self, t: int) -> list[tuple[int, int]]:
        """Return the items of batch t, of similar length: a list of (number in the stream, row of `pairs`)."""
        return self.batches.rows(t)

    def windows_at(self, number: int, pair: int) -> Windows:
        """Return one item of a batch.

        Args:
            number: of the item in the stream; unused, as nothing is drawn.
            pair: row of `pairs`.

        Returns:
            Two (example number, `PackedSequence`): the chosen and the rejected side.
        """
        return pair_windows(self.corpus, self.sequencer, self.layout, self.pairs[pair])


def pair_windows(corpus: Corpus, sequencer: Sequencer, layout: Layout, pair: Iterable[int]) -> Windows:
    """Pack both sides of a pair.

    Args:
        corpus: `Corpus`, the examples.
        sequencer: `Sequencer` of the model.
        layout: `Layout` of the sequences.
        pair: (chosen, rejected) example numbers.

    Returns:
        Two (example number, `PackedSequence`), the chosen one first: each from its beginning, cut at the context.
    """
    return tuple((int(i), sequencer.pack(layout, corpus.example(int(i)), plan=False)) for i in pair)
