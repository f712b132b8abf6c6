"""Batches of raw media for training codecs: batch t is a function of (data, seed, t) alone.

Shapes: B items of a batch; a picture is [C, H, W], uint8; S samples of a window of sound, C channels.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from helicon.data.corpus import Corpus
from helicon.data.numbered import NumberedBatches
from helicon.data.packing import EpochOrder
from helicon.tokenizers.augment import AugmentationRanges
from helicon.tokenizers.augment_sounds import SoundAugmentation

UNCHANGED = SoundAugmentation()  # where nothing is drawn


class Pictures:
    """Pictures of a corpus whose tokens are their bytes, rows of pixels with channels innermost.

    Args:
        corpus: token ids.
        slot: of the pictures.
        size: pixels of each side.
    """

    def __init__(self, corpus: Corpus, slot: str, size: int) -> None:
        self.corpus, self.slot, self.size = corpus, slot, size

    def batch(self, examples: Sequence[int] | np.ndarray) -> Tensor:
        """Return the pictures of B example numbers, RGB 0 .. 255, uint8 [B, 3, size, size]."""
        pixels = np.stack([self.corpus.example(int(i))[self.slot] for i in examples]).astype(np.uint8)
        return rearrange(torch.from_numpy(pixels), "b (h w c) -> b c h w", h=self.size, c=3).contiguous()

    def mean(self, examples: Sequence[int] | np.ndarray) -> Tensor:
        """Return the mean of the pictures of these example numbers, RGB 0 .. 255, float64 [3, size, size]."""
        total = torch.zeros(3, self.size, self.size, dtype=torch.float64)
        for start in range(0, len(examples), 256):
            total += self.batch(examples[start : start + 256]).double().sum(0)
        return total / max(1, len(examples))


class Sounds:
    """Sounds of a corpus whose tokens are their 16-bit samples, channels innermost.

    Args:
        corpus: token ids.
        slot: of the sounds.
        channels: of each sound.
    """

    HALF = 1 << 15  # id of silence: ids are 16-bit samples plus this

    def __init__(self, corpus: Corpus, slot: str, channels: int) -> None:
        self.corpus, self.slot, self.channels = corpus, slot, channels
        self.lengths = np.asarray(corpus.lengths(slot)) // channels

    def stretch(self, example: int, start: int = 0, length: int | None = None) -> Tensor:
        """Return a part of a sound.

        Args:
            example: number of the sound.
            start: number of the first sample.
            length: number of samples S; to the end unless given.

        Returns:
            float32 [C, S] in [-1, 1], S less than `length` where the sound ends.
        """
        first = self.corpus.offsets[self.slot][example]
        end = int(self.lengths[example]) if length is None else min(start + length, int(self.lengths[example]))
        ids = self.corpus.ids[self.slot][first + start * self.channels : first + end * self.channels]
        samples = torch.from_numpy(ids.astype(np.float32)).sub_(self.HALF).div_(self.HALF)
        return rearrange(samples, "(s c) -> c s", c=self.channels).contiguous()


class RawBatches(NumberedBatches[Tensor]):
    """Endless batches: every epoch has each item once, in its own order.

    Args:
        items: item numbers, int64 [N].
        batch: items of a batch, over all processes.
        seed: of order and augmentation.
        ranges: ranges that augmentations are drawn from; None for none.
        rank: of this process; it takes every `world`-th item of a batch from `rank` on.
        world: number of processes.
    """

    def __init__(
        self, items: np.ndarray, batch: int, seed: int, ranges: AugmentationRanges | None, rank: int, world: int
    ) -> None:  # fmt: skip
        self.size, self.seed, self.ranges, self.rank, self.world = batch, seed, ranges, rank, world
        self.epochs = EpochOrder(items, seed)

    @abstractmethod
    def items(self, chosen: np.ndarray, epochs: np.ndarray, changes: Sequence[Any]) -> Tensor:
        """Load the items of a batch.

        Args:
            chosen: item numbers, NumPy int64 [B].
            epochs: epoch of each item, NumPy int64 [B]; seeds what is drawn anew in each epoch.
            changes: augmentation drawn for each item; empty without ranges.

        Returns:
            [B, ...], of a type that the medium has.
        """

    def batch(self, t: int) -> Tensor:
        """Return batch t, [B, ...] as `items` loads it: of several processes, the part of this one."""
        numbers, mine = np.arange(t * self.size, (t + 1) * self.size), slice(self.rank, None, self.world)
        rng = np.random.default_rng((self.seed, 1, t))
        changes = [self.ranges.draw(rng) for _ in numbers] if self.ranges else []
        return self.items(self.epochs.at(numbers)[mine], numbers[mine] // len(self.epochs), changes[mine])

    @property
    def epoch(self) -> int:
        """Number of batches of an epoch, rounded up; the last one continues with the next epoch."""
        return -(-len(self.epochs) // self.size)


class PictureBatches(RawBatches):
    """Batches of the training pictures of a corpus, uint8 [B, 3, size, size]."""

    def __init__(
        self, pictures: Pictures, batch: int, seed: int, ranges: AugmentationRanges | None = None,
        rank: int = 0, world: int = 1,
    ) -> None:  # fmt: skip
        super().__init__(pictures.corpus.select(val=False), batch, seed, ranges, rank, world)
        self.pictures = pictures

    def items(self, chosen: np.ndarray, epochs: np.ndarray, changes: Sequence[Any]) -> Tensor:
        """Load pictures and augment them.

        Args:
            chosen: example numbers, NumPy int64 [B].
            epochs: unused.
            changes: `PictureAugmentation` of each picture; empty for none.

        Returns:
            RGB 0 .. 255, uint8 [B, 3, size, size].
        """
        pixels = self.pictures.batch(chosen)
        return torch.stack([change.changed(picture) for change, picture in zip(changes, pixels)]) if changes else pixels


class SoundBatches(RawBatches):
    """Batches of windows of the training sounds of a corpus, float32 [B, C + 1, S].

    The last channel is 1 for samples of the sound and 0 for padding.

    An epoch has every sample of every sound at least once, except what is pushed out where sounds are slowed down. The
    windows of a long sound are all full: they are S apart, begin at an offset drawn for (seed, epoch, sound), and are
    moved inwards at the ends. A sound shorter than the window is at the window's start.
    """

    def __init__(
        self, sounds: Sounds, window: int, batch: int, seed: int, ranges: AugmentationRanges | None = None,
        rank: int = 0, world: int = 1,
    ) -> None:  # fmt: skip
        self.sounds, self.window, self.examples = sounds, window, sounds.corpus.select(val=False)
        self.lengths = sounds.lengths[self.examples]
        counts = -(-self.lengths // window)
        # One more window where offsets would vary by less than half a window
        counts += (counts > 1) & (2 * (counts * window - self.lengths) < window)
        self.spare = np.minimum(counts * window - self.lengths, window)
        self.begins = np.append(0, np.cumsum(counts))
        super().__init__(np.arange(self.begins[-1]), batch, seed, ranges, rank, world)

    def items(self, chosen: np.ndarray, epochs: np.ndarray, changes: Sequence[Any]) -> Tensor:
        """Load windows of sounds and augment them.

        Args:
            chosen: window numbers, NumPy int64 [B].
            epochs: epoch of each window, NumPy int64 [B]; seeds its offset.
            changes: `SoundAugmentation` of each window; where it changes the speed, more or less of the sound is read.

        Returns:
            float32 [B, C + 1, S] of S samples: C channels in [-1, 1], and last the mask, 1 for sound and 0 for padding.
        """
        windows = torch.zeros(len(chosen), self.sounds.channels + 1, self.window)
        for row, (number, epoch) in enumerate(zip(chosen.tolist(), epochs.tolist())):
            change: SoundAugmentation = changes[row] if changes else UNCHANGED
            length = round(self.window * change.speed)
            sound = int(np.searchsorted(self.begins, number, side="right")) - 1
            moved = np.random.default_rng((self.seed, 2, epoch, sound)).integers(self.spare[sound] + 1)
            start = (number - self.begins[sound]) * self.window - moved
            start = int(np.clip(start, 0, max(0, self.lengths[sound] - length)))
            stretch = change.changed(self.sounds.stretch(int(self.examples[sound]), start, length))[:, : self.window]
            windows[row, :-1, : stretch.shape[1]] = stretch
            windows[row, -1, : stretch.shape[1]] = 1
        return windows
