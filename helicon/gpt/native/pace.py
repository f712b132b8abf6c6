"""Chooses the number of threads of a decoding step by how long steps take.

OpenMP's threads wait for each other by spinning, forty times a token. Where other programs have the cores too, each
wait lasts until the system gives the missing thread a turn: two threads are then many times slower than one.
"""

from __future__ import annotations

from collections import deque
from statistics import median

TRIES = 5  # steps by whose sum a number of threads is judged: beside other work a few take most of the time
FIRST, MOST = 32, 512  # steps between two trials: twice as many each time that nothing has changed
SLOW = 3  # times the usual, at which two steps together lead to a trial at once


class Pace:
    """The fastest of all threads, half of them and one, tried again now and then.

    Results do not depend on it: the C step sums in the same order with any number of threads.
    """

    def __init__(self, threads: int) -> None:
        self.candidates = sorted({threads, (threads + 1) // 2, 1}, reverse=True)
        self.threads = self._best = threads  # of the next step; between trials
        self._recent: deque[float] = deque(maxlen=TRIES)
        self._trial: dict[int, list[float]] = {}  # seconds of each candidate; empty between trials
        self._wait = self._left = FIRST

    def took(self, seconds: float) -> None:
        """Counts a step with `threads`, which is then the number for the next."""
        if len(self.candidates) == 1:
            return
        if self._trial:
            self._tried(seconds)
            return
        usual = median(self._recent) if len(self._recent) == TRIES else seconds
        slow = min(seconds, self._recent[-1]) > SLOW * usual if self._recent else False
        self._recent.append(seconds)
        self._left -= 1
        if slow or self._left <= 0:
            self.threads, self._trial = self.candidates[0], {self.candidates[0]: []}

    def _tried(self, seconds: float) -> None:
        self._trial[self.threads].append(seconds)
        if len(self._trial[self.threads]) < TRIES:
            return
        rest = [threads for threads in self.candidates if threads not in self._trial]
        if rest:
            self.threads = rest[0]
            self._trial[rest[0]] = []
            return
        before, self._best = self._best, min(self._trial, key=lambda threads: sum(self._trial[threads]))
        self._wait = min(2 * self._wait, MOST) if before == self._best else FIRST
        self.threads, self._left, self._trial = self._best, self._wait, {}
        self._recent.clear()
