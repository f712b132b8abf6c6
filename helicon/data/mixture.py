"""Mixtures: training batches of several sources, whose shares and turns are functions of (seed, step) alone."""

from __future__ import annotations

from collections.abc import Sequence

from helicon.data.batches import WindowStream
from helicon.data.collate import Windows
from helicon.data.packing import Turns

PARTS = 1 << 20  # that a share is rounded to, so that turns are computed exactly

Row = tuple[int, tuple[int, int]]  # number in the stream of its source, (source, row of that stream's window table)


def shares_of(tokens: Sequence[int], weights: Sequence[float] | None = None, temperature: float = 1.0) -> list[float]:
    """Compute the share of each source in the training batches.

    Args:
        tokens: for training of each source, 1 or more.
        weights: of each source, in any unit; None for their sizes.
        temperature: T, which scales sizes to the power 1 / T (multilingual BERT, arXiv:1907.05019): 1 for shares like
            the sizes, larger ones for more of the small sources.

    Returns:
        Shares that add up to 1.
    """
    scaled = [n ** (1 / temperature) for n in tokens] if weights is None else weights
    return [weight / sum(scaled) for weight in scaled]


class MixedStream:
    """Endless windows of several sources of one layout: each batch is of one of them, in turns by their shares.

    Of the first n batches, each source has its share up to a few batches, whatever n is.

    Args:
        streams: `WindowStream` of each source.
        shares: of each source in the batches; they add up to 1.
        seed: of the order of turns.
    """

    def __init__(self, streams: Sequence[WindowStream], shares: Sequence[float], seed: int) -> None:
        self.streams, self.shares = list(streams), list(shares)
        self.turns = Turns([max(1, round(PARTS * share)) for share in shares], seed, stream=3)
        self.labels, self.sequences = streams[0].labels, streams[0].sequences

    def rows(self, t: int) -> list[Row]:
        """Return the items of batch t, as `WindowStream.rows` of its source does, with the number of the source."""
        source, turn = self.turns.at(t)
        return [(number, (source, window)) for number, window in self.streams[source].rows(turn)]

    def windows_at(self, number: int, window: tuple[int, int]) -> Windows:
        """Return one item of a batch.

        Args:
            number: of the item in the stream of its source.
            window: (source, row of its window table).

        Returns:
            ((example number, `PackedSequence`),): a tuple of one pair.
        """
        source, row = window
        return self.streams[source].windows_at(number, row)

    @property
    def epoch(self) -> int:
        """Number of batches in which each source is gone through once, so that small ones may come often."""
        return max(round(stream.epoch / share) for stream, share in zip(self.streams, self.shares))
