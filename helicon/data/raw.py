"""Batches of media as they are, for codecs: batch t is a function of (data, seed, t) alone.

Shapes: B items of a batch; a picture is [C, H, W], uint8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from helicon.data.batches import Epochs
from helicon.data.corpus import Corpus


class Pictures:
    """Pictures of a corpus whose tokens are their bytes, rows of pixels with channels innermost."""

    def __init__(self, corpus: Corpus, slot: str, size: int) -> None:
        self.corpus, self.slot, self.size = corpus, slot, size

    def batch(self, examples: Sequence[int] | np.ndarray) -> Tensor:
        """uint8 [B, 3, size, size]."""
        pixels = np.stack([self.corpus.example(int(i))[self.slot] for i in examples]).astype(np.uint8)
        return torch.from_numpy(pixels).view(len(pixels), self.size, self.size, 3).permute(0, 3, 1, 2).contiguous()

    def mean(self, examples: Sequence[int] | np.ndarray) -> Tensor:
        """The mean picture, float64 [3, size, size]."""
        total = torch.zeros(3, self.size, self.size, dtype=torch.float64)
        for start in range(0, len(examples), 256):
            total += self.batch(examples[start : start + 256]).double().sum(0)
        return total / max(1, len(examples))


class RawBatches(IterableDataset[Tensor]):
    """Batches `first`, `first + 1`, ... without end: every epoch has each training picture once, in its own order.

    `mirror` turns half of them around. Of each batch a process of several takes every `world`-th item from `rank` on.
    """

    def __init__(
        self, pictures: Pictures, batch: int, seed: int, mirror: bool, rank: int = 0, world: int = 1
    ) -> None:  # fmt: skip
        self.pictures, self.size, self.seed, self.mirror = pictures, batch, seed, mirror
        self.first, self.rank, self.world = 0, rank, world
        self.epochs = Epochs(pictures.corpus.select(held=False), seed)

    def batch(self, t: int) -> Tensor:
        """Batch t, or this process' share of it."""
        numbers = np.arange(t * self.size, (t + 1) * self.size)
        examples = self.epochs.at(numbers)
        turned = torch.from_numpy(np.random.default_rng((self.seed, 1, t)).random(self.size) < self.mirror / 2)
        mine = slice(self.rank, None, self.world)
        pixels = self.pictures.batch(examples[mine])
        return torch.where(turned[mine, None, None, None], pixels.flip(-1), pixels)

    def __iter__(self) -> Iterator[Tensor]:
        worker = get_worker_info()
        step, t = (worker.num_workers, self.first + worker.id) if worker else (1, self.first)
        while True:
            yield self.batch(t)
            t += step
