"""Endless batches that are functions of their number: the base of all training data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Generic, TypeVar

from torch.utils.data import IterableDataset, get_worker_info

BatchT = TypeVar("BatchT")


class NumberedBatches(IterableDataset[BatchT], ABC, Generic[BatchT]):
    """Endless batches `first`, `first + 1`, ... ; with `repeated` set, the first `repeated` of them over and over.

    Loader worker w of n yields every n-th batch from `first + w` on.
    """

    first, repeated = 0, 0

    @abstractmethod
    def batch(self, t: int) -> BatchT:
        """Return batch number t, from 0 on: of several processes, the part of this one."""

    @property
    @abstractmethod
    def epoch(self) -> int:
        """Number of batches in which every training item comes at least once, up to the random order of batches."""

    def __iter__(self) -> Iterator[BatchT]:
        worker = get_worker_info()
        step, t = (worker.num_workers, self.first + worker.id) if worker else (1, self.first)
        while True:
            yield self.batch(t % self.repeated if self.repeated else t)
            t += step
