"""Whoever does the work, it is done in order, as it comes up, and other processes start only where they pay."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import pytest

from helicon.data import workers
from helicon.data.entries import Entry
from helicon.data.reading import ReadJob
from helicon.data.workers import MAX_CHUNK_TASKS, PREFETCH, Workers, shared


@dataclass(frozen=True)
class Square:
    """The result of a task, which is a number; of about a million bytes."""

    value: int
    thread: str = ""
    bytes: int = 1_000_000


@dataclass
class Squares:
    """Work that takes `seconds`, and the tasks that were worked on."""

    seconds: float = 0.0
    seen: list[int] = field(default_factory=list)

    def __call__(self, task: int) -> Square:
        self.seen.append(task)
        time.sleep(self.seconds)
        if task < 0:
            raise ValueError("not a number to square")
        return Square(task * task, threading.current_thread().name)


@pytest.fixture
def threads(monkeypatch) -> list[int]:
    """Pools of threads instead of processes, and how many each has."""
    started: list[int] = []

    def pool(processes: int, mp_context: object, initializer: object, initargs: object) -> ThreadPoolExecutor:
        started.append(processes)
        return ThreadPoolExecutor(processes, thread_name_prefix="other")

    monkeypatch.setattr(workers, "ProcessPoolExecutor", pool)
    monkeypatch.setattr(workers, "pickle", SimpleNamespace(dumps=lambda work: work))
    monkeypatch.setattr(workers, "_unpacked", lambda work: work)
    return started


def test_little_work_is_done_here(threads):
    work = Squares()
    with Workers(2) as two:
        assert [found.value for found in two.do(work, range(50), [1000] * 50)] == [n * n for n in range(50)]
    assert (work.seen, threads) == (list(range(50)), [])


def test_much_work_is_begun_here_and_handed_over(threads, monkeypatch):
    monkeypatch.setattr(workers, "TRIED_S", 0.005)
    monkeypatch.setattr(workers, "WORTH_S", 0.05)
    monkeypatch.setattr(workers, "LITTLE_S", 0.01)
    with Workers(2) as two:
        found = list(two.do(Squares(0.002), range(100), [1] * 100))
        names = [result.thread for result in found]
        assert [result.value for result in found] == [n * n for n in range(100)]
        assert not names[0].startswith("other")
        assert names[50].startswith("other")
        assert [result.value for result in two.do(Squares(), range(30), [1 << 30] * 30)][-1] == 29 * 29
    assert threads == [2]  # started once


def test_large_files_are_handed_over_at_once(threads):
    with Workers(3) as three:
        three.start()
        found = list(three.do(Squares(), range(9), [1 << 30] * 9))
    assert all(result.thread.startswith("other") for result in found[:-1])
    assert threads == [3]


def test_one_process_never_starts_others(threads):
    with Workers(1) as alone:
        assert len(list(alone.do(Squares(), range(3), [1 << 40] * 3))) == 3
    assert threads == []


@pytest.mark.parametrize("others", [False, True])
def test_faults_come_through(threads, others):
    with Workers(2) as two:
        if others:
            two.start()
        results = two.do(Squares(), [1, 2, -1], [1 << 40] * 3)
        with pytest.raises(ValueError, match="not a number to square"):
            list(results)


@pytest.mark.parametrize(("chunk_bytes", "most"), [(1, 1), (10_000_000, 10), (1 << 40, MAX_CHUNK_TASKS)])
def test_others_wait_for_who_takes_their_results(threads, monkeypatch, chunk_bytes, most):
    monkeypatch.setattr(workers, "CHUNK_BYTES", chunk_bytes)
    work, taken = Squares(), 0
    with ThreadPoolExecutor(2) as pool:
        for found in shared(work, iter(range(600)), 600, pool, 2):
            assert found.value == taken * taken
            taken += 1
            # What is asked for, and the rest of the chunk that is taken from
            assert len(work.seen) <= taken + (2 * PREFETCH + 1) * most
    assert taken == 600
    assert sorted(work.seen) == list(range(600))


def test_who_stops_early_ends_the_work(threads):
    work = Squares()
    with ThreadPoolExecutor(2) as pool:
        results = shared(work, iter(range(600)), 600, pool, 2)
        assert len(list(itertools.islice(results, 3))) == 3
        results.close()
    assert len(work.seen) < 30


def test_tasks_are_taken_as_they_come_up(threads):
    drawn: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        for found in shared(Squares(), iter(drawn.append(n) or n for n in range(40)), 40, pool, 1):
            assert len(drawn) <= found.value**0.5 + (PREFETCH + 1) * MAX_CHUNK_TASKS


def test_other_processes_do_the_same(tmp_path: Path):
    for i in range(20):
        (tmp_path / f"{i:02}.txt").write_bytes(b"\xff" if i == 7 else b"text %d" % i)
    tasks = [(Entry(name=str(i), files={"text": tmp_path / f"{i:02}.txt"}), None, True) for i in range(20)]
    job = ReadJob(["text"], {})
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert list(shared(job, iter(tasks), 20, pool, 2)) == [job(task) for task in tasks]


def test_who_cannot_be_started_is_done_without(threads, monkeypatch):
    """As where a script has no guard: each process that is started runs it again, and ends with an error."""

    def dead() -> None:
        raise RuntimeError("the script says more")

    monkeypatch.setattr(workers, "_imported", dead)
    monkeypatch.setattr(workers, "WORTH_S", 0.0)
    work = Squares(0.01)
    with Workers(2) as others:
        others.start()
        time.sleep(0.1)
        assert [found.value for found in others.do(work, range(9), [10_000_000] * 9)] == [n * n for n in range(9)]
        assert others.processes == 1
    assert work.seen == list(range(9))
