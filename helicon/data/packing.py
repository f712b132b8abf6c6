"""Batching by length: windows of similar length make a batch, as many as fit into the tokens of a full batch.

Windows are sorted into buckets by length once. A batch of a bucket has as many windows as its longest one allows: the
configured batch size where they fill the context, several in the place of one where they are shorter. Every batch is
computed from its number alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

GROUP = 16  # batches that are shuffled together; the batches of a bucket are spread evenly over groups
PIECES = 64  # windows that replace one full sequence at most: bounds the memory of a batch beyond its tokens
SHARES = 8  # sequences that a process must have so that all processes have equally many windows of each batch


class EpochOrder:
    """Endless item order: every epoch has each item once, in a permutation that depends on (seed, epoch, stream).

    Args:
        items: int64 [N].
        seed: of the permutations.
        stream: distinguishes orders of one seed.
    """

    def __init__(self, items: np.ndarray, seed: int, stream: int = 0) -> None:
        self.items, self.seed, self.stream = items, seed, stream
        self._orders: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        """Items of an epoch."""
        return len(self.items)

    def at(self, numbers: np.ndarray) -> np.ndarray:
        """Return the items at consecutive numbers of the endless order.

        Args:
            numbers: consecutive, ascending, from 0 on, NumPy int64 [n].

        Returns:
            Items, NumPy int64 [n].
        """
        first, last = numbers[0] // len(self), numbers[-1] // len(self)
        orders = np.concatenate([self._order(epoch) for epoch in range(first, last + 1)])
        return orders[numbers - first * len(self)]

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._orders:
            order = np.random.default_rng((self.seed, 0, epoch, self.stream)).permutation(self.items)
            self._orders = {**{e: o for e, o in self._orders.items() if e >= epoch - 2}, epoch: order}
        return self._orders[epoch]


def full_batches(lengths: np.ndarray, tokens: int) -> list[np.ndarray]:
    """Batch windows for measuring: from the shortest on, neighbours in length together.

    Args:
        lengths: tokens of each window, NumPy int64 [N].
        tokens: of a batch at most, padding included.

    Returns:
        List of batches, each the indices of its windows in `lengths`, NumPy int64 [n]; a window longer than `tokens` is
        a batch of its own.
    """
    order, batches = np.argsort(lengths, kind="stable"), []
    while len(order):
        ahead = lengths[order[: tokens // max(1, int(lengths[order[0]])) + 1]]
        # Lengths ascend, so the n-th window is the padded length of the first n
        size = int(np.searchsorted(ahead * np.arange(1, len(ahead) + 1), tokens, side="right"))
        batches.append(order[: max(1, size)])
        order = order[max(1, size) :]
    return batches


@dataclass(frozen=True, eq=False)
class LengthBucket:
    """Windows of similar length.

    Attributes:
        windows: indices of the windows, ascending, int64 [n].
        size: number of windows in a batch.
        limit: tokens that each window of a batch may have.
    """

    windows: np.ndarray
    size: int
    limit: int


def buckets(lengths: np.ndarray, batch: int, context: int) -> list[LengthBucket]:
    """Divide windows into buckets, from the longest on.

    Each bucket has enough windows for a batch: a bucket with too few gets shorter ones, the last one longer ones.

    Args:
        lengths: tokens of each window, NumPy int64 [N].
        batch: number of full-context sequences in a batch.
        context: tokens of a full sequence; a batch never has more than batch x context tokens, padding included.

    Returns:
        `LengthBucket`s (window indices, windows a batch, tokens a window at most), longest windows first; each window
        is in one.
    """
    order, tokens = np.argsort(-lengths, kind="stable"), batch * context
    falling = lengths[order]
    step = max(d for d in range(1, max(1, batch // SHARES) + 1) if batch % d == 0)
    most = min(PIECES * batch, max(batch, len(order) // step * step))
    starts: list[tuple[int, int]] = []  # (first window in `order`, batch size) of each bucket
    first = 0
    while first < len(order):
        fitting = tokens // max(1, int(falling[first])) // step * step
        size = min(max(fitting, batch), most)
        if not starts or (size > starts[-1][1] and len(order) - first >= size):
            starts.append((first, size))
        # The bucket goes on as far as windows are too long for a batch one step larger
        longer = np.count_nonzero(falling[first:] > tokens // (size + step))
        first += max(size, int(longer))
    ends = [*(first for first, _ in starts[1:]), len(order)]
    return [LengthBucket(np.sort(order[first:end]), size, tokens // size) for (first, size), end in zip(starts, ends)]


class Turns:
    """Endless turns of several streams by their weights, spread evenly, and shuffled in groups of GROUP.

    Args:
        weights: of each stream, whole numbers above 0.
        seed: of the order.
        stream: distinguishes orders of one seed.
    """

    def __init__(self, weights: Sequence[int], seed: int, stream: int = 1) -> None:
        self.weights, self.seed, self.stream = list(weights), seed, stream
        self._tails = list(accumulate(reversed(self.weights)))[::-1]  # weights of each stream and those after it

    def at(self, t: int) -> tuple[int, int]:
        """Return the stream whose turn t is, and its own number of that turn, from 0; no two turns have the same."""
        group, place = divmod(t, GROUP)
        order = np.random.default_rng((self.seed, self.stream, group)).permutation(GROUP)
        return self.in_order(group * GROUP + int(order[place]))

    def in_order(self, number: int) -> tuple[int, int]:
        """Return the same as `at`, of turns that are not shuffled.

        Of n turns, the first stream has the integer part of its share, the second of what is left, and so on.
        """
        for k, (weight, tail) in enumerate(zip(self.weights, self._tails)):
            before = number * weight // tail
            if (number + 1) * weight // tail > before:
                return k, before
            number -= before
        raise AssertionError("the last stream has all that is left")


class Batches:
    """Endless batches of windows.

    Args:
        items: number of each window, int64 [N].
        lengths: tokens of each window, int64 [N].
        batch: number of full-context sequences in a batch.
        context: tokens of a full sequence.
        seed: of the order.
        passes: True keeps the batches of each epoch among themselves, for callers that take one epoch at a time.
    """

    def __init__(
        self, items: np.ndarray, lengths: np.ndarray, batch: int, context: int, seed: int, passes: bool = False
    ) -> None:  # fmt: skip
        self.buckets, self.seed, self.passes = buckets(lengths, batch, context), seed, passes
        self.epochs = [EpochOrder(items[bucket.windows], seed, k) for k, bucket in enumerate(self.buckets)]
        self.limits = np.empty(len(items), np.int64)  # tokens that each item may have in its batches
        for bucket in self.buckets:
            self.limits[bucket.windows] = bucket.limit
        # 20-bit fixed point, to be exact
        self.turns = Turns([-(-(len(bucket.windows) << 20) // bucket.size) for bucket in self.buckets], seed)

    def rows(self, t: int) -> list[tuple[int, int]]:
        """Return the windows of batch t, a list of (number in the stream, item); no two have the same number."""
        k, turn = self._turn_of_pass(t) if self.passes else self.turns.at(t)
        numbers = np.arange(turn * self.buckets[k].size, (turn + 1) * self.buckets[k].size)
        return list(zip((numbers * len(self.buckets) + k).tolist(), self.epochs[k].at(numbers).tolist()))

    @property
    def epoch(self) -> int:
        """Number of batches in which every item comes once, up to whole batches of each bucket; at least 1."""
        # Each share is rounded up by less than one unit
        return max(1, -(len(self.buckets) - sum(self.turns.weights) >> 20))

    def epoch_of(self, number: int) -> int:
        """Return the epoch, from 0, that a number of `rows` belongs to; each bucket counts its own epochs."""
        turn, k = divmod(number, len(self.buckets))
        return turn // len(self.epochs[k])

    def _turn_of_pass(self, t: int) -> tuple[int, int]:
        """Return what `Turns.at` does, shuffled in groups that end with each epoch."""
        begin = t - t % self.epoch
        first = t - (t - begin) % GROUP
        count = min(GROUP, begin + self.epoch - first)
        order = np.random.default_rng((self.seed, 2, first)).permutation(count)
        return self.turns.in_order(first + int(order[t - first]))
