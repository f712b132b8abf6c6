"""Loaders of endless batches that are functions of their number, made before they are asked for."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.trainer.states import TrainerFn
from torch.utils.data import DataLoader, IterableDataset

from helicon.data.children import end_with_parent, safe_path
from helicon.data.numbered import NumberedBatches
from helicon.training.errors import TrainingError


class TrainLoader(DataLoader[Any]):
    """Begins, each time it is asked to, with the batch that the training has come to.

    Without workers a thread makes the batches that come next.
    """

    dataset: NumberedBatches[Any]  # type: ignore[assignment]

    def __init__(self, batches: NumberedBatches[Any], where: Callable[[], int], workers: int) -> None:
        super().__init__(batches, batch_size=None, num_workers=workers, worker_init_fn=_ignore_sigint)
        self.first_batch = where

    def __iter__(self) -> Any:
        self.dataset.first = self.first_batch()
        with safe_path():
            batches = super().__iter__()
        return batches if self.num_workers else prefetch(batches)


def train_loader(batches: NumberedBatches[Any], trainer: pl.Trainer | None, workers: int) -> TrainLoader:
    """A loader of a trainer's batches: a step takes as many of them as gradients are added up over."""
    assert trainer is not None
    return TrainLoader(batches, lambda: trainer.global_step * trainer.accumulate_grad_batches, workers)


def _ignore_sigint(worker: int) -> None:
    """A terminal tells all processes of Ctrl-C: workers leave it to the training, which ends after its step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def prefetch(items: Iterator[Any], by: int = 2) -> Generator[Any, None, None]:
    """The same items: a thread makes some while those before them are used. Its errors are raised in their place."""
    thread, end = ThreadPoolExecutor(1), object()
    try:
        waiting = deque(thread.submit(next, items, end) for _ in range(by))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, items, end))
            yield item
    finally:
        thread.shutdown(cancel_futures=True)


class ShardedBatches(IterableDataset[Any]):
    """A process' own batches; a list would be shared out once more by Lightning."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def eval_loader(batches: Sequence[Any], trainer: pl.Trainer | None, limit: str) -> DataLoader[Any]:
    """A loader of a process' share of what is held out, of which Lightning looks at so many batches.

    limit: option that says how many, `limit_val_batches` or `limit_test_batches`. Lightning cannot tell what a share of
    them is: a loader that says how long it is would be left out where it is empty, on some of the processes alone.

    TrainingError where nothing is held out, unless a training goes on without.
    """
    assert trainer is not None
    if not batches and trainer.state.fn != TrainerFn.FITTING:
        advice = "two files or more, and a --data.held_out above 0, leave some"
        raise TrainingError(f"nothing is held out that could be measured; {advice}")
    share = getattr(trainer, limit)
    if isinstance(share, float) and 0 < share < 1:
        setattr(trainer, limit, max(1, int(share * len(batches) / trainer.world_size)))
    return DataLoader(ShardedBatches(list(batches[trainer.global_rank :: trainer.world_size])), batch_size=None)


def chunks(items: list[Any], size: int) -> list[list[Any]]:
    """Items in lists of `size`, the last one perhaps shorter."""
    return [items[i : i + size] for i in range(0, len(items), size)]
