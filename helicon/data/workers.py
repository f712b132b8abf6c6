"""Parallel map on all cores, in order.

The calling process works alone until the work left is worth the start of others, and they have started.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, wait
from functools import lru_cache
from itertools import islice
from math import inf
from typing import Any, Protocol

from helicon.data.children import end_with_parent, safe_path
from helicon.modalities import registry
from helicon.plugins.loading import files, load_plugins

WORTH_S = 4.0  # seconds of work left that are worth starting processes: each needs about 2 s of a core for its imports
TRIED_S = 0.25  # seconds of work after which the work left is estimated from measured speed
GUESS = 100e6  # bytes of files a second, assumed until then
LITTLE_S = 0.25  # seconds of work left that are not worth sending to other processes
CHUNK_BYTES = 2 << 20  # target size of the results of a chunk
MAX_CHUNK_TASKS = 32  # of a chunk, so that progress is shown and work stays balanced
BACKGROUND = 10  # niceness of processes in the background: about a tenth of the share of a core of others
PREFETCH = 2  # chunks a process that may be in flight: one being computed, one waiting


class Sized(Protocol):
    """Result that knows its approximate size in bytes."""

    @property
    def bytes(self) -> int: ...


Work = Callable[[Any], Sized]  # task -> result


class Workers:
    """Pool of processes for several maps, ended with the block.

    Args:
        processes: of the pool; as many as there are cores unless given. 1 does all work in the calling process.
        background: True leaves all work to the pool, even of 1 process, and the cores to others that want them.
    """

    def __init__(self, processes: int | None = None, background: bool = False) -> None:
        self.processes, self.background = processes or cores(), background
        self._pool: Executor | None = None
        self._starting: list[Future[None]] = []
        self._cancelled = False

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:  # do not wait for processes that are still starting
            self._pool.shutdown(wait=self._started, cancel_futures=True)

    def do(self, work: Work, tasks: Iterable[Any], sizes: Sequence[int]) -> Iterator[Any]:
        """Map a function over tasks.

        Args:
            work: function of a task, whose result has a size `bytes`; picklable.
            tasks: taken as they are needed; a caller that takes no results is waited for.
            sizes: of each task, bytes of files it reads, for estimating the time; as many tasks are done.

        Yields:
            Results of `work`, one a task, in order.

        Raises:
            CancelledError: `cancel` was called.
        """
        for result in self._do(work, tasks, sizes):
            if self._cancelled:
                raise CancelledError
            yield result

    def cancel(self) -> None:
        """End the maps that another thread takes results of, by a CancelledError there."""
        self._cancelled = True

    def _do(self, work: Work, tasks: Iterable[Any], sizes: Sequence[int]) -> Iterator[Any]:
        tasks, left, done, spent = iter(tasks), sum(sizes), 0, 0.0
        for number, size in enumerate(sizes):
            if self._help(spent / max(1, done) * left if spent > TRIED_S else left / GUESS):
                yield from shared(work, tasks, len(sizes) - number, self._pool, self.processes)  # type: ignore[arg-type]
                return
            task = next(tasks)
            began = time.perf_counter()
            result = work(task)
            spent, done, left = spent + time.perf_counter() - began, done + size, left - size
            yield result

    def _help(self, seconds: float) -> bool:
        """Return True if the pool is to do work of so many seconds. It is started for the first long work."""
        seconds = inf if self.background else seconds
        if self._pool is None and (self.processes > 1 or self.background) and seconds > WORTH_S:
            self.start()
        if self.background:
            wait(self._starting)
        if seconds <= LITTLE_S or self._pool is None or not self._started:
            return False
        if any(started.exception() for started in self._starting):  # they have printed the reason
            self._pool, self._starting, self.processes, self.background = None, [], 1, False
        return self._pool is not None

    def start(self) -> None:
        """Start the processes of the pool, without waiting for them."""
        # Spawned, because a forked child of a process whose threads hold locks can hang
        context = multiprocessing.get_context("spawn")
        with safe_path():
            self._pool = ProcessPoolExecutor(
                self.processes, mp_context=context, initializer=_begun, initargs=(files(), self.background)
            )
            self._starting = [self._pool.submit(_imported) for _ in range(self.processes)]

    @property
    def _started(self) -> bool:
        return all(started.done() for started in self._starting)


def shared(
    work: Work, tasks: Iterator[Any], count: int, pool: Executor, processes: int
) -> Generator[Any, None, None]:  # fmt: skip
    """Map a function over tasks by a pool, which waits when its results are not taken.

    Tasks are sent in chunks of about CHUNK_BYTES of results, by the size of those that came back so far.

    Args:
        work: function of a task, whose result has a size `bytes`; picklable.
        tasks: taken as they are needed.
        count: number of tasks.
        pool: that computes.
        processes: number of them in the pool.

    Returns:
        Generator of the results of `work`, one a task, in order.
    """
    most = max(1, min(MAX_CHUNK_TASKS, count // (4 * processes)))
    packed = pickle.dumps(work)  # once, and by `pickle`: the pool's pickler would share tensors by files that stay open
    chunk, done, taken = 1, 0, 0
    pending: deque[Future[list[Any]]] = deque()
    try:
        while True:
            while len(pending) < PREFETCH * processes and (few := list(islice(tasks, chunk))):
                pending.append(pool.submit(_chunk, packed, few))
            if not pending:
                return
            results = pending.popleft().result()
            done, taken = done + len(results), taken + sum(result.bytes for result in results)
            chunk = max(1, min(most, CHUNK_BYTES * done // max(1, taken)))
            yield from results
    finally:
        for future in pending:
            future.cancel()


def _begun(plugins: list[str], background: bool) -> None:
    """Initialise a process of the pool. Plugins are loaded before tasks that need them are unpickled."""
    if background:  # a terminal sends Ctrl-C to all processes: the main one stops when it has come to an end
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if background and sys.platform != "win32":
        os.nice(BACKGROUND)
    end_with_parent()
    load_plugins(plugins)


def _imported() -> None:
    registry.all_modalities()


def _chunk(packed: bytes, tasks: Sequence[Any]) -> list[Any]:
    return list(map(_unpacked(packed), tasks))


@lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> Work:
    return pickle.loads(packed)


def cores() -> int:
    """Return the cores that this process may use; 1 where processes cannot be spawned, as in an interactive session."""
    if not hasattr(sys.modules["__main__"], "__file__"):
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
