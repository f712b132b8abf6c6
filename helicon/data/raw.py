"""Batches of media as they are, for codecs: batch t is a function of (data, seed, t) alone.

Shapes: B items of a batch; a picture is [C, H, W], uint8; S samples of a window of sound, C channels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from helicon.data.corpus import Corpus
from helicon.data.packing import Epochs


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


class Sounds:
    """Sounds of a corpus whose tokens are their 16-bit samples, channels innermost."""

    HALF = 1 << 15  # the id of silence

    def __init__(self, corpus: Corpus, slot: str, channels: int) -> None:
        self.corpus, self.slot, self.channels = corpus, slot, channels
        self.lengths = np.asarray(corpus.lengths(slot)) // channels

    def stretch(self, example: int, start: int = 0, length: int | None = None) -> Tensor:
        """float32 [C, S] in [-1, 1]: so many samples from one on, or all; fewer where the sound ends."""
        first = self.corpus.offsets[self.slot][example]
        end = int(self.lengths[example]) if length is None else min(start + length, int(self.lengths[example]))
        ids = self.corpus.ids[self.slot][first + start * self.channels : first + end * self.channels]
        samples = torch.from_numpy(ids.astype(np.float32)).sub_(self.HALF).div_(self.HALF)
        return samples.view(-1, self.channels).T.contiguous()


class RawBatches(IterableDataset[Tensor], ABC):
    """Batches `first`, `first + 1`, ... without end: every epoch has each item once, in its own order.

    Of each batch a process of several takes every `world`-th item from `rank` on.
    """

    def __init__(self, items: np.ndarray, batch: int, seed: int, rank: int = 0, world: int = 1) -> None:
        self.size, self.seed, self.first, self.rank, self.world = batch, seed, 0, rank, world
        self.epochs = Epochs(items, seed)

    @abstractmethod
    def items(self, examples: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Those of this process, of all the examples of a batch, each with its own random changes."""

    def batch(self, t: int) -> Tensor:
        """Batch t, or this process' share of it."""
        numbers = np.arange(t * self.size, (t + 1) * self.size)
        return self.items(self.epochs.at(numbers), np.random.default_rng((self.seed, 1, t)))

    def __iter__(self) -> Iterator[Tensor]:
        worker = get_worker_info()
        step, t = (worker.num_workers, self.first + worker.id) if worker else (1, self.first)
        while True:
            yield self.batch(t)
            t += step


class PictureBatches(RawBatches):
    """uint8 [B, 3, size, size]. `mirror` turns half of the pictures around."""

    def __init__(
        self, pictures: Pictures, batch: int, seed: int, mirror: bool, rank: int = 0, world: int = 1
    ) -> None:  # fmt: skip
        super().__init__(pictures.corpus.select(held=False), batch, seed, rank, world)
        self.pictures, self.mirror = pictures, mirror

    def items(self, examples: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Each picture, or its mirror image."""
        turned = torch.from_numpy(rng.random(self.size) < self.mirror / 2)
        mine = slice(self.rank, None, self.world)
        pixels = self.pictures.batch(examples[mine])
        return torch.where(turned[mine, None, None, None], pixels.flip(-1), pixels)


class SoundBatches(RawBatches):
    """float32 [B, C + 1, S]: windows of sounds, and whether each sample is one of the sound (1) or padding (0).

    A sound has as many windows an epoch as it is long, at least one; each begins anywhere in it. Shorter sounds stand
    whole at the window's start.
    """

    def __init__(
        self, sounds: Sounds, window: int, batch: int, seed: int, rank: int = 0, world: int = 1
    ) -> None:  # fmt: skip
        train = sounds.corpus.select(held=False)
        super().__init__(np.repeat(train, -(-sounds.lengths[train] // window)), batch, seed, rank, world)
        self.sounds, self.window = sounds, window

    def items(self, examples: np.ndarray, rng: np.random.Generator) -> Tensor:
        """A window of each."""
        places = rng.random(self.size)
        mine = range(self.rank, self.size, self.world)
        found = torch.zeros(len(mine), self.sounds.channels + 1, self.window)
        for row, number in enumerate(mine):
            over = int(self.sounds.lengths[examples[number]]) - self.window
            stretch = self.sounds.stretch(int(examples[number]), int(places[number] * max(0, over + 1)), self.window)
            found[row, :-1, : stretch.shape[1]] = stretch
            found[row, -1, : stretch.shape[1]] = 1
        return found
