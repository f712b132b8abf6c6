"""How pieces are cut into training windows: anew in each epoch, without overlap, so that every target comes once.

A piece of more targets than a window holds has a first and a last window of random lengths and full ones between. How
many there are, and how long each may be, is the same in every epoch, so that windows can be sorted by length once. One
of the two is nearly full and the other as short as that leaves it, whichever comes first: most tokens have most of a
window before them, and batches are full to 95 %, while a piece can be cut at up to a sixteenth of a window's places.

Shapes: P pieces, N windows of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SPARE = 32  # this part of a window is what the lengths of a piece's first and last window vary by
LONGER, SHORTER, MIDDLE = 0, 1, 2  # parts of a piece: the longer of its first and last window, the other, those between


@dataclass(frozen=True, eq=False, kw_only=True)
class WindowTable:
    """The windows of every epoch, each of at most `size` targets.

    pieces [N]: of which piece each is. parts [N]: LONGER, SHORTER, MIDDLE, MIDDLE + 1, ... of it. targets [N]: how many
    it has at most. first [P + 1]: where each piece's windows begin.
    """

    size: int
    pieces: np.ndarray
    parts: np.ndarray
    targets: np.ndarray
    first: np.ndarray

    @staticmethod
    def of(targets_P: np.ndarray, size: int) -> WindowTable:
        """Windows of pieces of so many targets, one at least, each."""
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
        """Targets that the windows of a piece hold together, the first and the last of them their limits."""
        first, end = self.first[piece : piece + 2]
        return int(limits_N[first:end][:MIDDLE].sum()) + self.size * max(0, int(end - first) - MIDDLE)

    def cut(self, window: int, targets: int, limits_N: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
        """First target of a window, and that after its last, in a piece of so many, no more than its capacity.

        The same `rng` cuts the windows of one piece so that each target is in one of them. Where a piece is shorter
        than its windows were laid out for, some may be empty.
        """
        piece, part = self.pieces[window], self.parts[window]
        first, count = self.first[piece], self.first[piece + 1] - self.first[piece]
        if count == 1:
            return 0, targets
        limits = limits_N[first : first + MIDDLE]
        ahead = rng.integers(2)  # whether the longer or the shorter comes first
        ends = targets - self.size * (count - MIDDLE)
        least, most = max(0, ends - limits[1 - ahead]), min(limits[ahead], targets)
        if ends > 1:  # neither has to be empty
            least, most = max(1, least), min(most, ends - 1)
        length = rng.integers(least, most + 1)
        if part >= MIDDLE:
            begin = length + (part - MIDDLE) * self.size
            return int(min(begin, targets)), int(min(begin + self.size, targets))
        if part == ahead:
            return 0, int(length)
        return int(min(length + (count - MIDDLE) * self.size, targets)), targets
