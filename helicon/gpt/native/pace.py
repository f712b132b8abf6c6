"""Chooses the number of threads of a decoding step by how long steps take.

OpenMP's threads wait for each other by spinning, forty times a token. Where other programs have the cores too, each
wait lasts until the system gives the missing thread a turn: two threads are then many times slower than one.
"""

from __future__ import annotations

from collections import deque

TRIES = 5  # steps by whose sum a number of threads is judged: beside other work a few take most of the time
FIRST, MOST = 32, 512  # steps between two trials: twice as many each time
SLOW = 3  # times what steps take: a sign that something is wrong


class Pace:
    """The fastest of all threads, half of them and one. Where steps get slow or uneven, the next numbers are tried.

    Results do not depend on it: the C step sums in the same order with any number of threads.
    """

    def __init__(self, threads: int) -> None:
        self.candidates = sorted({threads, (threads + 1) // 2, 1})
        self.threads = self._best = threads  # of the next step; between trials
        self._recent: deque[float] = deque(maxlen=TRIES)  # seconds, since the last trial
        self._limit = float("inf")  # of their sum
        self._wait = self._left = FIRST
        self._trial: dict[int, list[float]] = {}  # seconds of each candidate still in; empty between trials

    def took(self, seconds: float) -> None:
        """Counts a step with `threads`, which is then the number for the next."""
        if len(self.candidates) == 1:
            return
        if self._trial:
            self._tried(seconds)
            return
        self._recent.append(seconds)
        self._left -= 1
        even = min(self._limit, SLOW * TRIES * min(self._recent))
        if self._left == 0 or (len(self._recent) == TRIES and sum(self._recent) > even):
            place = self.candidates.index(self._best)
            near = self.candidates[max(0, place - 1) : place + 2]
            self.threads, self._trial = near[0], {threads: [] for threads in near}

    def _tried(self, seconds: float) -> None:
        """A trial goes in rounds of a step by each: all meet the same machine, and a slow one costs little."""
        self._trial[self.threads].append(seconds)
        later = [threads for threads in self._trial if threads > self.threads]
        if later:
            self.threads = later[0]
            return
        sums = {threads: sum(steps) for threads, steps in self._trial.items()}
        fastest = min(sums, key=lambda threads: sums[threads])
        for threads in sums:  # fewer are slower by their number where nothing is wrong
            if sums[threads] > SLOW * sums[fastest] * max(1.0, fastest / threads):
                del self._trial[threads]
        if len(self._trial) > 1 and len(self._trial[fastest]) < TRIES:
            self.threads = next(iter(self._trial))
            return
        self._end(fastest)

    def _end(self, fastest: int) -> None:
        """More threads are left as soon as they take longer than fewer have taken: they may only have been lucky."""
        means = {threads: sum(steps) / len(steps) for threads, steps in self._trial.items()}
        fewer = (mean for threads, mean in means.items() if threads < fastest)
        self._limit = TRIES * max(1.5 * means[fastest], min(fewer, default=SLOW * means[fastest]))
        changed, self._best = fastest != self._best, fastest
        self._wait = min(2 * self._wait, MOST)
        self._left = TRIES if changed else 0 if fastest == self.candidates[-1] else self._wait  # 0: none is due
        self.threads, self._trial = fastest, {}
        self._recent.clear()
