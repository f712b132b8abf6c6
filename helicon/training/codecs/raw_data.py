"""What the data modules of all codecs share: a folder of one medium, read once into a cache as it is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch import Tensor
from torch.utils.data import DataLoader

from helicon.data.config import DataConfig
from helicon.data.corpus import Corpus
from helicon.data.files import DataError
from helicon.data.prepare import DataSource, Prepared, prepare
from helicon.data.raw import RawBatches
from helicon.formats.progress import log
from helicon.training.learning.loaders import eval_loader, train_loader


class RawData(pl.LightningDataModule):
    """A folder whose files become batches without tokens; batch t is a function of (data, seed, t)."""

    medium: str

    def __init__(self, config: DataConfig, tokenizer: str, options: dict[str, Any]) -> None:
        super().__init__()
        self.source = DataSource.of(config, (self.medium,), {self.medium: tokenizer}, options)
        self.batch_size, self.seed, self.workers = config.batch_size, config.seed, config.workers
        self.ranges = config.ranges((self.medium,)).get(self.medium)
        self.prepared: Prepared | None = None

    @property
    def reading(self) -> dict[str, int]:
        """Options with which files are read."""
        raise NotImplementedError

    def make_batches(self, rank: int, world: int) -> RawBatches:
        """Batches to train on, or this process' share of them."""
        raise NotImplementedError

    def held_batches(self) -> Sequence[Tensor]:
        """All that a validation looks at."""
        raise NotImplementedError

    @property
    def corpus(self) -> Corpus:
        """All media, once prepared."""
        assert self.prepared is not None, "setup() comes first"
        return self.prepared.corpora[0]

    def prepare_data(self) -> None:
        """Reads the files into the cache (on one process)."""
        self.prepared = self.prepared or prepare(self.source, log=log)

    def setup(self, stage: str) -> None:
        """Opens the cache."""
        self.prepared = self.prepared or prepare(self.source)
        if stage == "fit" and not len(self.train):
            raise DataError(f"{self.source.path}: nothing is left to train on")

    @cached_property
    def batches(self) -> RawBatches:
        """All that is trained on, or this process' share of it."""
        trainer = self.trainer
        assert trainer is not None
        if self.batch_size % trainer.world_size:
            raise DataError(f"--data.batch_size {self.batch_size} is not a multiple of {trainer.world_size} processes")
        return self.make_batches(trainer.global_rank, trainer.world_size)

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches from the step that the trainer stands at."""
        return train_loader(self.batches, self.trainer, self.workers)

    def val_dataloader(self) -> DataLoader[Any]:
        """What is held out."""
        return eval_loader(self.held_batches(), self.trainer, "limit_val_batches")

    def test_dataloader(self) -> DataLoader[Any]:
        """What is held out."""
        return eval_loader(self.held_batches(), self.trainer, "limit_test_batches")

    @property
    def train(self) -> np.ndarray:
        """Indices of what is trained on."""
        return self.corpus.select(val=False)

    @property
    def val(self) -> np.ndarray:
        """Indices of what is held out."""
        return self.corpus.select(val=True)

    def examples(self, count: int) -> np.ndarray:
        """Indices of some that are held out, spread evenly; of those to train on, where nothing is held out."""
        val = self.val if len(self.val) else self.train
        return val[:: max(1, len(val) // count)][:count]
