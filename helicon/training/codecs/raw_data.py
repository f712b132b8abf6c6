"""Base of the data modules of codecs: a folder of one medium, read once into a cache as raw samples or pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import pytorch_lightning as pl
from torch import Tensor
from torch.utils.data import DataLoader

from helicon.data.config import DataConfig
from helicon.data.corpus import Corpus
from helicon.data.files import DataError
from helicon.data.prepare import prepare
from helicon.data.prepared import Prepared
from helicon.data.raw import RawBatches
from helicon.data.source import DataSource
from helicon.formats.progress import log
from helicon.formats.validation import ValidationRecord, record_state, restore_record
from helicon.tokenizers.base import Tokenizer
from helicon.training.learning.loaders import eval_loader, train_loader


class RawData(pl.LightningDataModule):
    """Data module of raw media, without tokens; batch t is a function of (data, seed, t).

    Args:
        config: folder, and options of the batches.
        tokenizer: that stores the files in the cache as they are: `rgb` or `pcm`.
        options: with which files are read.

    Attributes:
        medium: name of the modality.
        ranges: ranges of the augmentations; None for none.
        prepared: the cache; None before `prepare_data` or `setup`.
    """

    medium: str

    def __init__(self, config: DataConfig, tokenizer: str, options: dict[str, Any]) -> None:
        super().__init__()
        self.source = DataSource.of(config, (self.medium,), {self.medium: tokenizer}, options)
        self.batch_size, self.seed, self.workers = config.batch_size, config.seed, config.workers
        self.ranges = config.ranges((self.medium,)).get(self.medium)
        self.prepared: Prepared | None = None

    @property
    def reading(self) -> dict[str, int]:
        """Options with which files are read, name -> value, as a codec stores them."""
        raise NotImplementedError

    def make_batches(self, rank: int, world: int) -> RawBatches:
        """Make the training batches, or this process' shard of them.

        Args:
            rank: of this process.
            world: number of processes.

        Returns:
            `RawBatches`, each a tensor [B / world, ...].
        """
        raise NotImplementedError

    def make_val_batches(self) -> Sequence[Tensor]:
        """Load the batches of a validation, a tensor each."""
        raise NotImplementedError

    @property
    def corpus(self) -> Corpus:
        """`Corpus` of the cached files, training and held out; available once prepared."""
        assert self.prepared is not None, "setup() comes first"
        return self.prepared.corpora[0]

    @property
    def record(self) -> ValidationRecord:
        """`ValidationRecord` of the files held out, once prepared; before, of earlier trainings."""
        return self.prepared.record if self.prepared else self.source.record

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the `ValidationRecord` for a checkpoint, so that a resumed run holds out the same files.

        Returns:
            `validation`, the result of `record_state`.
        """
        return {"validation": record_state(self.record)}

    def restore(self, state: dict[str, Any]) -> None:
        """Set the files held out from the dict that `state_dict` put into a checkpoint."""
        self.source = replace(self.source, record=restore_record(state.get("validation")))

    @property
    def pretrained_tokenizers(self) -> dict[str, Tokenizer]:
        """Slot -> tokenizer that is not fitted: none, as the files are kept as they are."""
        return {}

    def prepare_data(self) -> None:
        """Read the files into the cache, and log what was read; Lightning calls this on one process."""
        if self.prepared is None:
            self.prepared = prepare(self.source, log=log)
            log(self.prepared.summary())

    def setup(self, stage: str) -> None:
        """Open the cache, built by `prepare_data`, whatever the stage (`fit`, `validate` ...).

        Raises:
            DataError: every file is held out.
        """
        self.prepared = self.prepared or prepare(self.source)
        if stage == "fit" and not len(self.train):
            raise DataError(f"{self.source.path}: nothing is left to train on")

    @cached_property
    def batches(self) -> RawBatches:
        """`RawBatches` of training: of several processes, the part of this one.

        Raises:
            DataError: the batch size is not a multiple of the number of processes.
        """
        trainer = self.trainer
        assert trainer is not None
        if self.batch_size % trainer.world_size:
            raise DataError(f"--data.batch_size {self.batch_size} is not a multiple of {trainer.world_size} processes")
        return self.make_batches(trainer.global_rank, trainer.world_size)

    def train_dataloader(self) -> DataLoader[Any]:
        """Return the loader of training batches, from the trainer's current step on."""
        return train_loader(self.batches, self.trainer, self.workers)

    def val_dataloader(self) -> DataLoader[Any]:
        """Return the loader of validation batches."""
        return eval_loader(self.make_val_batches(), self.trainer, "limit_val_batches")

    def test_dataloader(self) -> DataLoader[Any]:
        """Return a loader of the same batches as for validation."""
        return eval_loader(self.make_val_batches(), self.trainer, "limit_test_batches")

    @property
    def train(self) -> np.ndarray:
        """Example numbers of the training part, NumPy int64 [N]."""
        return self.corpus.select(val=False)

    @property
    def val(self) -> np.ndarray:
        """Example numbers of the validation part, NumPy int64 [N]."""
        return self.corpus.select(val=True)

    def examples(self, count: int) -> np.ndarray:
        """Return at most `count` numbers of validation (else training) examples, evenly spread, NumPy int64 [N]."""
        val = self.val if len(self.val) else self.train
        return val[:: max(1, len(val) // count)][:count]
