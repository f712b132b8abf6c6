"""The Lightning data module of codecs: a folder of pictures as batches of bytes."""

from __future__ import annotations

import sys
from functools import cached_property
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torch import Tensor
from torch.utils.data import DataLoader

from helicon.data.files import DataError
from helicon.data.prepare import Prepared, Source, prepare
from helicon.data.raw import Pictures, RawBatches
from helicon.training.data import Share, TrainLoader, chunks


class CodecData(pl.LightningDataModule):
    """Any folder of pictures, searched recursively, read once into a cache; batch t is a function of (data, seed, t).

    Args:
        path: folder (or one file) to train on.
        size: pixels each way that pictures are scaled and cropped to.
        batch_size: pictures a step, over all processes.
        seed: of batches and noise.
        held_out: share of the files, by a hash of their names, that is never trained on.
        mirror: whether half of the pictures are turned around at random.
        manifest: CSV or JSONL with a column file, instead of searching the folder.
        workers: loader processes; results do not depend on their number.
        cache: folder of the cache; $HELICON_CACHE or the user's cache folder unless given.
    """

    medium = "image"

    def __init__(
        self,
        path: str,
        size: int = 64,
        batch_size: int = 32,
        seed: int = 0,
        held_out: float = 0.05,
        mirror: bool = True,
        manifest: str | None = None,
        workers: int = 0,
        cache: str | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1 or size < 1:
            raise DataError(f"--data.batch_size and --data.size must be 1 or more, got {batch_size} and {size}")
        self.source = Source(
            Path(path), (self.medium,), {self.medium: "rgb"}, {"size": size},
            Path(manifest) if manifest else None, held_out, Path(cache) if cache else None,
        )  # fmt: skip
        self.size, self.batch_size, self.seed, self.mirror, self.workers = size, batch_size, seed, mirror, workers
        self.prepared: Prepared | None = None

    @cached_property
    def pictures(self) -> Pictures:
        """All pictures, once prepared."""
        assert self.prepared is not None, "setup() comes first"
        return Pictures(self.prepared.corpora[0], self.medium, self.size)

    @cached_property
    def mean(self) -> Tensor:
        """Mean of the pictures to train on, [3, size, size] of 0 .. 255: reconstructions are measured against it."""
        return self.pictures.mean(self.pictures.corpus.select(held=False))

    def prepare_data(self) -> None:
        """Reads the pictures into the cache (on one process)."""
        self.prepared = prepare(self.source, say=lambda line: print(line, file=sys.stderr))

    def setup(self, stage: str) -> None:
        """Opens the cache."""
        self.prepared = self.prepared or prepare(self.source)
        if stage == "fit" and not len(self.pictures.corpus.select(held=False)):
            raise DataError(f"{self.source.path}: nothing is left to train on")

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches uint8 [B, 3, size, size] from the step that the trainer stands at."""
        trainer = self.trainer
        assert trainer is not None
        if self.batch_size % trainer.world_size:
            raise DataError(f"--data.batch_size {self.batch_size} is not a multiple of {trainer.world_size} processes")
        batches = RawBatches(
            self.pictures, self.batch_size, self.seed, self.mirror, trainer.global_rank, trainer.world_size
        )
        return TrainLoader(batches, lambda: trainer.global_step * trainer.accumulate_grad_batches, self.workers)

    def val_dataloader(self) -> DataLoader[Any]:
        """All held-out pictures."""
        assert self.trainer is not None
        batches = [self.pictures.batch(group) for group in chunks(self.held.tolist(), self.batch_size)]
        return DataLoader(Share(batches[self.trainer.global_rank :: self.trainer.world_size]), batch_size=None)

    test_dataloader = val_dataloader

    @property
    def held(self) -> Any:
        """Indices of the held-out pictures."""
        return self.pictures.corpus.select(held=True)

    def examples(self, count: int) -> Any:
        """Indices of some held-out pictures, spread evenly; of those to train on, where nothing is held out."""
        held = self.held if len(self.held) else self.pictures.corpus.select(held=False)
        return held[:: max(1, len(held) // count)][:count]
