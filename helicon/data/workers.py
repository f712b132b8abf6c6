"""Work on all cores, in order: by this process until others are worth their start, and have started."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from functools import lru_cache
from itertools import islice
from typing import Any, Protocol

from helicon.data.children import end_with_parent, safe_path
from helicon.modalities import registry
from helicon.plugins.loading import files, load_plugins

WORTH_S = 4.0  # of work ahead, from which on others are started: each needs about two seconds of a core for its imports
TRIED_S = 0.25  # of work, after which what is ahead is judged by it
GUESS = 100e6  # bytes of files a second, before that
LITTLE_S = 0.25  # of work ahead, which is not worth sending around
CHUNK_BYTES = 2 << 20  # of results that a process makes at a time, about
LONGEST_CHUNK = 32  # tasks
AHEAD = 2  # chunks for each process that may wait to be used


class Sized(Protocol):
    """A result that knows about how many bytes it has."""

    @property
    def bytes(self) -> int: ...


Work = Callable[[Any], Sized]


class Workers:
    """Other processes for several pieces of work, ended with the block."""

    def __init__(self, processes: int | None = None) -> None:
        """processes: as many as there are cores, unless told; 1 does all the work here."""
        self.processes = processes or _cores()
        self._pool: Executor | None = None
        self._starting: list[Future[None]] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:  # nobody waits for those that come too late
            self._pool.shutdown(wait=self._started, cancel_futures=True)

    def do(self, work: Work, tasks: Iterable[Any], sizes: Sequence[int]) -> Iterator[Any]:
        """work(task) of each, in order; sizes: of each task, in bytes of files.

        Tasks are taken as they come up. Who takes no results is waited for.
        """
        tasks, left, done, spent = iter(tasks), sum(sizes), 0, 0.0
        for number, size in enumerate(sizes):
            if self._help(spent / max(1, done) * left if spent > TRIED_S else left / GUESS):
                yield from shared(work, tasks, len(sizes) - number, self._pool, self.processes)  # type: ignore[arg-type]
                return
            task = next(tasks)
            began = time.perf_counter()
            found = work(task)
            spent, done, left = spent + time.perf_counter() - began, done + size, left - size
            yield found

    def _help(self, seconds: float) -> bool:
        """Whether the others are to go on with work that takes so long. They are started for the first that is long."""
        if self._pool is None and self.processes > 1 and seconds > WORTH_S:
            self.start()
        if seconds <= LITTLE_S or self._pool is None or not self._started:
            return False
        if any(one.exception() for one in self._starting):  # they have said why
            self._pool, self._starting, self.processes = None, [], 1
        return self._pool is not None

    def start(self) -> None:
        """Starts the others, which takes them a while."""
        # Spawned, because a forked child of a process whose threads hold locks can hang
        context = multiprocessing.get_context("spawn")
        with safe_path():
            self._pool = ProcessPoolExecutor(
                self.processes, mp_context=context, initializer=_begun, initargs=(files(),)
            )
            self._starting = [self._pool.submit(_imported) for _ in range(self.processes)]

    @property
    def _started(self) -> bool:
        return all(one.done() for one in self._starting)


def shared(
    work: Work, tasks: Iterator[Any], count: int, pool: Executor, processes: int
) -> Generator[Any, None, None]:  # fmt: skip
    """work(task) of each of `count` tasks, in order, by a pool, which waits when its results are not taken.

    Tasks are sent in chunks of about CHUNK_BYTES of what came back so far.
    """
    most = max(1, min(LONGEST_CHUNK, count // (4 * processes)))
    packed = pickle.dumps(work)  # once, and not as the pool would: it shares tensors, by files that stay open
    chunk, done, taken = 1, 0, 0
    pending: deque[Future[list[Any]]] = deque()
    try:
        while True:
            while len(pending) < AHEAD * processes and (few := list(islice(tasks, chunk))):
                pending.append(pool.submit(_chunk, packed, few))
            if not pending:
                return
            results = pending.popleft().result()
            done, taken = done + len(results), taken + sum(found.bytes for found in results)
            chunk = max(1, min(most, CHUNK_BYTES * done // max(1, taken)))
            yield from results
    finally:
        for one in pending:
            one.cancel()


def _begun(plugins: list[str]) -> None:
    """What another process does first; media and tokenizers of plugins are unpickled later."""
    end_with_parent()
    load_plugins(plugins)


def _imported() -> None:
    registry.all_modalities()


def _chunk(packed: bytes, tasks: Sequence[Any]) -> list[Any]:
    return list(map(_unpacked(packed), tasks))


@lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> Work:
    return pickle.loads(packed)


def _cores() -> int:
    """Cores that this process may use; 1 where others could not be started, as in an interactive session."""
    if not hasattr(sys.modules["__main__"], "__file__"):
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
