"""Which windows make batch t: those of like length, as many as there is room for in the tokens of a full batch.

Windows are sorted into buckets by length once. The batches of a bucket hold as many windows as its longest allows: as
many as the batch has sequences where they fill the context, several in the place of one where they are shorter. Every
batch is found by its number alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

import numpy as np

GROUP = 16  # batches in a row whose order is random; those of a bucket are spread evenly over groups
PIECES = 64  # windows that take the place of one sequence at most
SHARES = 8  # processes that have so many sequences of a batch each have as many windows as the others


class EpochOrder:
    """Items without end: every epoch has each of them once, in an order of its own that depends on (seed, epoch)."""

    def __init__(self, items: np.ndarray, seed: int, stream: int = 0) -> None:
        self.items, self.seed, self.stream = items, seed, stream
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
            order = np.random.default_rng((self.seed, 0, epoch, self.stream)).permutation(self.items)
            self._orders = {**{e: o for e, o in self._orders.items() if e >= epoch - 2}, epoch: order}
        return self._orders[epoch]


def full_batches(lengths: np.ndarray, tokens: int) -> list[np.ndarray]:
    """Windows, by index, from the shortest on: neighbours in length together, at most so many tokens with padding."""
    order, found = np.argsort(lengths, kind="stable"), []
    while len(order):
        ahead = lengths[order[: tokens // max(1, int(lengths[order[0]])) + 1]]
        size = int(np.searchsorted(ahead * np.arange(1, len(ahead) + 1), tokens, side="right"))  # the n-th is longest
        found.append(order[: max(1, size)])
        order = order[max(1, size) :]
    return found


@dataclass(frozen=True, eq=False)
class LengthBucket:
    """Windows of like length, by index. size: how many make a batch. limit: tokens that each may have there."""

    windows: np.ndarray
    size: int
    limit: int


def buckets(lengths: np.ndarray, batch: int, context: int) -> list[LengthBucket]:
    """Buckets of windows of so many tokens, from the longest on; a batch never has more than batch x context tokens.

    Each bucket has windows for a batch at least: too few are filled up with shorter ones, at the end with longer ones.
    """
    order, tokens = np.argsort(-lengths, kind="stable"), batch * context
    falling = lengths[order]
    grain = max(d for d in range(1, max(1, batch // SHARES) + 1) if batch % d == 0)
    most = min(PIECES * batch, max(batch, len(order) // grain * grain))
    found: list[tuple[int, int]] = []  # where each begins, and how many make a batch
    first = 0
    while first < len(order):
        fitting = tokens // max(1, int(falling[first])) // grain * grain
        size = min(max(fitting, batch), most)
        if not found or (size > found[-1][1] and len(order) - first >= size):
            found.append((first, size))
        longer = np.count_nonzero(falling[first:] > tokens // (size + grain))  # of the others one step more has room
        first += max(size, int(longer))
    ends = [*(first for first, _ in found[1:]), len(order)]
    return [LengthBucket(np.sort(order[first:end]), size, tokens // size) for (first, size), end in zip(found, ends)]


class Batches:
    """The endless batches of some items, each a window of so many tokens."""

    def __init__(self, items: np.ndarray, lengths: np.ndarray, batch: int, context: int, seed: int) -> None:
        self.buckets, self.seed = buckets(lengths, batch, context), seed
        self.epochs = [EpochOrder(items[bucket.windows], seed, k) for k, bucket in enumerate(self.buckets)]
        self.limits = np.empty(len(items), np.int64)  # tokens that each item may have
        for bucket in self.buckets:
            self.limits[bucket.windows] = bucket.limit
        # Of what is left after the buckets before it, the share of each in the batches; whole numbers, to be exact
        self._weights = [-(-(len(bucket.windows) << 20) // bucket.size) for bucket in self.buckets]
        self._tails = list(accumulate(reversed(self._weights)))[::-1]

    def rows(self, t: int) -> list[tuple[int, int]]:
        """(number, item) of batch t; no two windows have the same number."""
        group, place = divmod(t, GROUP)
        order = np.random.default_rng((self.seed, 1, group)).permutation(GROUP)
        k, turn = self._turn(group * GROUP + int(order[place]))
        numbers = np.arange(turn * self.buckets[k].size, (turn + 1) * self.buckets[k].size)
        return list(zip((numbers * len(self.buckets) + k).tolist(), self.epochs[k].at(numbers).tolist()))

    @property
    def epoch(self) -> int:
        """Batches in which every item comes once, as far as whole groups of them do; at least one."""
        return max(1, -(len(self._weights) - self._tails[0] >> 20))  # each share is rounded up by less than one unit

    def epoch_of(self, number: int) -> int:
        """How often each window of its bucket has come before that number."""
        turn, k = divmod(number, len(self.buckets))
        return turn // len(self.epochs[k])

    def _turn(self, number: int) -> tuple[int, int]:
        """Which bucket a batch is of, and how many of that bucket come before it.

        Of the first n batches the first bucket has the whole part of its share, of the others the second, and so on.
        """
        for k, (weight, tail) in enumerate(zip(self._weights, self._tails)):
            before = number * weight // tail
            if (number + 1) * weight // tail > before:
                return k, before
            number -= before
        raise AssertionError("the last bucket has all that is left")
