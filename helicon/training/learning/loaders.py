"""Data loaders: prefetched endless batches for training, and this rank's shard of the validation batches."""

from __future__ import annotations

import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.trainer.states import TrainerFn
from torch.utils.data import DataLoader, IterableDataset

from helicon.data.children import end_with_parent, safe_path
from helicon.data.numbered import NumberedBatches
from helicon.data.streaming.feeder import Feeder
from helicon.training.errors import TrainingError


class TrainLoader(DataLoader[Any]):
    """DataLoader of numbered batches whose `__iter__` resumes at the trainer's current step.

    Without workers, a thread prefetches the next batches.

    Args:
        batches: functions of their number.
        first_batch: returns the number of the batch to begin with.
        workers: number of loader processes; 0 for a thread.
    """

    dataset: NumberedBatches[Any]  # type: ignore[assignment]

    def __init__(self, batches: NumberedBatches[Any], first_batch: Callable[[], int], workers: int) -> None:
        super().__init__(batches, batch_size=None, num_workers=workers, worker_init_fn=_ignore_sigint)
        self.first_batch = first_batch

    def __iter__(self) -> Any:
        self.dataset.first = self.first_batch()
        with safe_path():
            batches = super().__iter__()
        return batches if self.num_workers else prefetch(batches)


class StreamLoader(TrainLoader):
    """Loader of a stream: begins and moves its feeder, and measures how long the training waits for a batch.

    Args:
        batches: functions of their number.
        first_batch: returns the number of the batch to begin with.
        workers: number of loader processes; 0 for a thread.
        feeder: makes what the batches are cut from.
    """

    def __init__(
        self, batches: NumberedBatches[Any], first_batch: Callable[[], int], workers: int, feeder: Feeder
    ) -> None:  # fmt: skip
        super().__init__(batches, first_batch, workers)
        self.feeder = feeder

    def __iter__(self) -> Any:
        batches = super().__iter__()  # forks the loader processes before there is a thread
        return self._fed(batches, self.dataset.first)

    def _fed(self, batches: Iterator[Any], first: int) -> Generator[Any, None, None]:
        repeated = self.dataset.repeated
        self.feeder.start(first % repeated if repeated else first)
        for t in count(first + 1):
            asked = time.perf_counter()
            try:
                batch = next(batches)
            except Exception:
                # A loader process ends with the feeder's error, too, in many lines
                if self.feeder.failure is not None:
                    raise self.feeder.failure from None
                raise
            self.feeder.note_wait(time.perf_counter() - asked)
            self.feeder.reached(t % repeated if repeated else t)
            yield batch


def train_loader(
    batches: NumberedBatches[Any], trainer: pl.Trainer | None, workers: int, feeder: Feeder | None = None
) -> TrainLoader:  # fmt: skip
    """Make the loader of training batches.

    Args:
        batches: of this rank.
        trainer: whose step says where to begin; a step takes `accumulate_grad_batches` batches.
        workers: number of loader processes; 0 for a thread.
        feeder: of a stream; None for batches of a corpus that is there.

    Returns:
        A `TrainLoader`.
    """
    assert trainer is not None

    def first_batch() -> int:
        return trainer.global_step * trainer.accumulate_grad_batches

    if feeder is None:
        return TrainLoader(batches, first_batch, workers)
    return StreamLoader(batches, first_batch, workers, feeder)


def _ignore_sigint(worker: int) -> None:
    """Ignore Ctrl-C in a worker, as a terminal sends it to all processes: the main one stops after its step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def prefetch(items: Iterator[Any], by: int = 2) -> Generator[Any, None, None]:
    """Iterate ahead in a thread.

    Args:
        items: iterator, such as `iter(batches)`, not a list; it is advanced in another thread.
        by: number of items that are made ahead. 2: one ready while the next is made.

    Yields:
        The same items in order; an error of the iterator is raised in its place.
    """
    thread, end = ThreadPoolExecutor(1), object()
    try:
        waiting = deque(thread.submit(next, items, end) for _ in range(by))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, items, end))
            yield item
    finally:
        thread.shutdown(cancel_futures=True)


class ShardedBatches(IterableDataset[Any]):
    """Batches of this rank as an iterable, as Lightning would shard a list once more."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def eval_loader(batches: Sequence[Any], trainer: pl.Trainer | None, limit: str) -> DataLoader[Any]:
    """Make the loader of this rank's shard of the validation or test batches.

    It has no length: Lightning skips a loader of length 0, which would be on some of the ranks alone. So a limit that
    is a share of the batches is replaced in the trainer by their number.

    Args:
        batches: of all ranks, in order.
        trainer: whose rank and limit are used.
        limit: name of the Trainer option, `limit_val_batches` or `limit_test_batches`.

    Returns:
        A DataLoader of this rank's batches, as they are.

    Raises:
        TrainingError: there are no batches, in another command than `fit`, which trains without a validation then.
    """
    assert trainer is not None
    if not batches and trainer.state.fn != TrainerFn.FITTING:
        advice = "two files or more, and a --data.val_split above 0, leave some"
        raise TrainingError(f"no validation files to measure; {advice}")
    share = getattr(trainer, limit)
    if isinstance(share, float) and 0 < share < 1:
        setattr(trainer, limit, max(1, int(share * len(batches) / trainer.world_size)))
    return DataLoader(ShardedBatches(list(batches[trainer.global_rank :: trainer.world_size])), batch_size=None)


def chunks(items: list[Any], size: int) -> list[list[Any]]:
    """Split a list.

    Args:
        items: to split.
        size: length of each part but the last, which may be shorter.

    Returns:
        The parts, lists, in order.
    """
    return [items[i : i + size] for i in range(0, len(items), size)]
