"""Loaders of endless batches that are functions of their number, made before they are asked for."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from helicon.data.children import end_with_parent, safe_path


class TrainLoader(DataLoader[Any]):
    """Begins, each time it is asked to, with the batch that the training has come to.

    Without workers a thread makes the batches that come next.
    """

    def __init__(self, batches: IterableDataset[Any], where: Callable[[], int], workers: int) -> None:
        super().__init__(batches, batch_size=None, num_workers=workers, worker_init_fn=_begun)
        self.where = where

    def __iter__(self) -> Any:
        self.dataset.first = self.where()  # type: ignore[attr-defined]
        with safe_path():
            batches = super().__iter__()
        return batches if self.num_workers else ahead(batches)


def _begun(worker: int) -> None:
    """A terminal tells all processes of Ctrl-C: workers leave it to the training, which ends after its step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def ahead(items: Iterator[Any], by: int = 2) -> Generator[Any, None, None]:
    """The same items: a thread makes some while those before them are used. Its errors are raised in their place."""
    thread, end = ThreadPoolExecutor(1), object()
    try:
        waiting = deque(thread.submit(next, items, end) for _ in range(by))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, items, end))
            yield item
    finally:
        thread.shutdown(cancel_futures=True)


class Share(IterableDataset[Any]):
    """A process' own batches; a list would be shared out once more by Lightning."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def chunks(items: list[Any], size: int) -> list[list[Any]]:
    """Items in lists of `size`, the last one perhaps shorter."""
    return [items[i : i + size] for i in range(0, len(items), size)]
