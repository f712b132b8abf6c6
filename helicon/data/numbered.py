"""Batches that are functions of their number, without end: the base of what every training reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Generic, TypeVar

from torch.utils.data import IterableDataset, get_worker_info

BatchT = TypeVar("BatchT")


class NumberedBatches(IterableDataset[BatchT], ABC, Generic[BatchT]):
    """Batches `first`, `first + 1`, ... without end; the first `repeated` of them over and over, where that is set."""

    first, repeated = 0, 0

    @abstractmethod
    def batch(self, t: int) -> BatchT:
        """Batch t, or this process' share of it."""

    @property
    @abstractmethod
    def epoch(self) -> int:
        """Batches in which everything that is trained on comes at least once, but for their random order."""

    def __iter__(self) -> Iterator[BatchT]:
        worker = get_worker_info()
        step, t = (worker.num_workers, self.first + worker.id) if worker else (1, self.first)
        while True:
            yield self.batch(t % self.repeated if self.repeated else t)
            t += step
