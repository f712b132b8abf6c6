"""Training windows: examples are cut anew in each epoch, without overlap, so that every target comes once.

An example with more targets than a window holds has a first and a last window of random lengths and full ones between.
Their number, and the maximum length of each, are the same in every epoch, so that windows can be sorted by length once.
Of the first and the last window one, at random, is nearly full and the other has the rest: most tokens have most of a
window before them, and batches are 95 % full, while the cut varies by up to a sixteenth of a window.

Shapes: P examples, N windows of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SPARE = 32  # the lengths of the first and the last window vary by 1 / SPARE of a window
# Parts of an example: the longer one of its first and last window, the shorter one, and from MIDDLE on those between
LONGER, SHORTER, MIDDLE = 0, 1, 2


@dataclass(frozen=True, eq=False, kw_only=True)
class WindowTable:
    """Windows of every epoch.

    Attributes:
        size: targets of a window at most.
        pieces: number of the example of each of the N windows, int64 [N].
        parts: LONGER, SHORTER, MIDDLE, MIDDLE + 1, ... of its example, int64 [N].
        targets: of each window at most, int64 [N].
        first: bounds of each example in the windows, int64 [P + 1].
    """

    size: int
    pieces: np.ndarray
    parts: np.ndarray
    targets: np.ndarray
    first: np.ndarray

    @staticmethod
    def of(targets_P: np.ndarray, size: int) -> WindowTable:
        """Divide examples into windows.

        Args:
            targets_P: number of targets (tokens to predict) of each of P examples, 1 or more, NumPy int64 [P].
            size: targets of a window at most.

        Returns:
            A `WindowTable`.
        """
        full, rest = np.divmod(targets_P - 1, size)
        rest += 1  # targets of the last window where all before it are full
        spare = max(1, size // SPARE)
        single, more = full == 0, 2 * (size - rest) < spare
        ends = np.where(more, rest, size + rest)[~single]  # targets of the first and the last window together
        counts = np.where(single, 1, np.where(more, full + 2, full + 1))
        first = np.append(0, np.cumsum(counts))
        pieces = np.repeat(np.arange(len(targets_P)), counts)
        targets = np.full(len(pieces), size)
        targets[first[:-1][single]] = targets_P[single]
        longer = np.minimum(ends - 1, size)
        targets[first[:-1][~single] + LONGER] = longer
        targets[first[:-1][~single] + SHORTER] = np.minimum(ends - longer + spare, longer)
        return WindowTable(
            size=size, pieces=pieces, parts=np.arange(len(pieces)) - first[pieces], targets=targets, first=first
        )

    def capacity(self, piece: int, limits_N: np.ndarray) -> int:
        """Return how many targets the windows of an example hold together.

        Args:
            piece: number of the example.
            limits_N: targets that each of the N windows may have in its batches, NumPy int64 [N]; applies to first and
                last windows.

        Returns:
            Number of targets.
        """
        first, end = self.first[piece : piece + 2]
        return int(limits_N[first:end][:MIDDLE].sum()) + self.size * max(0, int(end - first) - MIDDLE)

    def cut(self, window: int, targets: int, limits_N: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
        """Cut an example for an epoch and return the bounds of one of its windows.

        Args:
            window: row of the table.
            targets: number of them in the example as augmented, at most its capacity.
            limits_N: targets that each of the N windows may have in its batches, NumPy int64 [N].
            rng: of the cut; the same state for all windows of the example, so that each target is in one of them.

        Returns:
            (first target of the window, end of its targets), counted in the example; equal where augmentation has made
            the example too short.
        """
        piece, part = self.pieces[window], self.parts[window]
        first, count = self.first[piece], self.first[piece + 1] - self.first[piece]
        if count == 1:
            return 0, targets
        limits = limits_N[first : first + MIDDLE]
        ahead = rng.integers(2)  # part that comes first: LONGER or SHORTER
        ends = targets - self.size * (count - MIDDLE)
        least, most = max(0, ends - limits[1 - ahead]), min(limits[ahead], targets)
        if ends > 1:  # keep both from being empty
            least, most = max(1, least), min(most, ends - 1)
        length = rng.integers(least, most + 1)
        if part >= MIDDLE:
            begin = length + (part - MIDDLE) * self.size
            return int(min(begin, targets)), int(min(begin + self.size, targets))
        if part == ahead:
            return 0, int(length)
        return int(min(length + (count - MIDDLE) * self.size, targets)), targets
