"""Choice of the number of threads of a decode step, by how long steps take.

OpenMP threads wait for each other by spinning, about forty times per token. When other programs use the cores too, each
wait lasts until the system schedules the missing thread: two threads are then many times slower than one.
"""

from __future__ import annotations

from collections import deque

TRIES = 5  # steps whose sum judges a number of threads: beside other programs a few steps take most of the time
FIRST_INTERVAL, MAX_INTERVAL = 32, 512  # steps between two trials: the first interval, which doubles up to the last
SLOW = 3  # ratio of step times that shows interference by other programs


class ThreadTuner:
    """Thread tuner: tries all threads, half of them, and one, and uses the fastest until steps get slow or uneven.

    Results do not depend on it: the C step sums in the same order for any number of threads.

    Args:
        threads: largest number of threads.
    """

    def __init__(self, threads: int) -> None:
        self.candidates = sorted({threads, (threads + 1) // 2, 1})
        self.threads = self._best = threads  # of the next step; the best by the last trial
        self._recent: deque[float] = deque(maxlen=TRIES)  # seconds of the steps since the last trial
        self._limit = float("inf")  # seconds, sum of _recent that starts a trial
        self._wait = self._left = FIRST_INTERVAL  # steps between trials; steps until the next
        self._trial: dict[int, list[float]] = {}  # seconds by candidate that is still in; empty between trials

    def record(self, seconds: float) -> None:
        """Record how many seconds a step with `threads` threads took, and set `threads` for the next step."""
        if len(self.candidates) == 1:
            return
        if self._trial:
            self._record_trial(seconds)
            return
        self._recent.append(seconds)
        self._left -= 1
        limit = min(self._limit, SLOW * TRIES * min(self._recent))
        if self._left == 0 or (len(self._recent) == TRIES and sum(self._recent) > limit):
            index = self.candidates.index(self._best)
            neighbours = self.candidates[max(0, index - 1) : index + 2]
            self.threads, self._trial = neighbours[0], {threads: [] for threads in neighbours}

    def _record_trial(self, seconds: float) -> None:
        """Record a step of a trial. Rounds of one step per candidate: all meet the same load, slow ones cost little."""
        self._trial[self.threads].append(seconds)
        later = [threads for threads in self._trial if threads > self.threads]
        if later:
            self.threads = later[0]
            return
        sums = {threads: sum(steps) for threads, steps in self._trial.items()}
        fastest = min(sums, key=lambda threads: sums[threads])
        for threads in sums:  # without interference, time is at most inversely proportional to the threads
            if sums[threads] > SLOW * sums[fastest] * max(1.0, fastest / threads):
                del self._trial[threads]
        if len(self._trial) > 1 and len(self._trial[fastest]) < TRIES:
            self.threads = next(iter(self._trial))
            return
        self._end_trial(fastest)

    def _end_trial(self, fastest: int) -> None:
        """Use the fastest; limit its time to what fewer threads took, since it may have been fast by luck."""
        means = {threads: sum(steps) / len(steps) for threads, steps in self._trial.items()}
        fewer = (mean for threads, mean in means.items() if threads < fastest)
        self._limit = TRIES * max(1.5 * means[fastest], min(fewer, default=SLOW * means[fastest]))
        changed, self._best = fastest != self._best, fastest
        self._wait = min(2 * self._wait, MAX_INTERVAL)
        self._left = TRIES if changed else 0 if fastest == self.candidates[-1] else self._wait  # 0: no trial is due
        self.threads, self._trial = fastest, {}
        self._recent.clear()
