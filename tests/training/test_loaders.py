"""Batches made ahead: in order, errors in their place, from where the training stands."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
import time

import pytest
from torch.utils.data import IterableDataset

from helicon.training.learning.loaders import TrainLoader, chunks, prefetch


def test_what_is_made_ahead_comes_in_order_and_its_error_in_its_place():
    def numbers():
        yield from range(5)
        raise OSError("the disk is gone")

    found = prefetch(numbers())
    assert [next(found) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(OSError, match="the disk is gone"):
        next(found)
    assert list(prefetch(iter("abc"))) == ["a", "b", "c"]
    assert list(prefetch(iter(()))) == []


def test_two_are_made_while_one_is_used_and_none_after_the_end():
    made, three = [], threading.Event()

    def numbers():
        for number in itertools.count():
            made.append((number, threading.current_thread() is threading.main_thread()))
            if number == 2:
                three.set()
            yield number

    found = prefetch(numbers())
    assert next(found) == 0
    assert three.wait(10)
    found.close()
    assert len(made) == 3
    assert not any(main for _, main in made)


class Slow(IterableDataset):
    """Numbers, each of which takes a while, so that a signal comes in the middle of one."""

    first = 0

    def __iter__(self):
        for number in itertools.count(self.first):
            time.sleep(0.05)
            yield number


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signals")
def test_workers_leave_ctrl_c_to_the_training():
    """A terminal sends it to all processes: the step at hand ends, and may want one more batch."""
    batches = iter(TrainLoader(Slow(), lambda: 0, 1))
    assert next(batches) == 0
    (worker,) = batches._workers
    os.kill(worker.pid, signal.SIGINT)
    assert [next(batches) for _ in range(9)] == list(range(1, 10))


def test_each_pass_of_a_loader_begins_where_the_training_stands():
    class Numbers(IterableDataset):
        first = 0

        def __iter__(self):
            return itertools.count(self.first)

    stands = 0
    loader = TrainLoader(Numbers(), lambda: stands, workers=0)
    assert list(itertools.islice(loader, 3)) == [0, 1, 2]
    stands = 40
    assert list(itertools.islice(loader, 2)) == [40, 41]


def test_chunks_are_as_long_as_they_can_be():
    assert chunks([1, 2, 3, 4, 5], 2) == [[1, 2], [3, 4], [5]]
