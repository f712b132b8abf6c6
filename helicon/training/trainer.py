"""Trainer of a run."""

from __future__ import annotations

import pytorch_lightning as pl

from helicon.training.codecs.raw_data import RawData
from helicon.training.learning.data import SequenceData
from helicon.training.parts import prepare_parts

Callback = pl.Callback  # for rooms outside training/, which do not import Lightning


class HeliconTrainer(pl.Trainer):
    """Lightning's Trainer, which can also build the token cache alone."""

    def prepare(
        self, model: pl.LightningModule, datamodule: pl.LightningDataModule, ckpt_path: str | None = None,
        weights_only: bool | None = None, part: str | None = None, on: str | None = None,
    ) -> None:  # fmt: skip
        """Fit the tokenizers and build the token cache; the data module logs a summary of it.

        Args:
            model: unused; all commands of the Trainer have these parameters.
            datamodule: data module, restored from a checkpoint already if there is one.
            ckpt_path: unused, as `prepare` only makes the cache.
            weights_only: unused.
            part: make one part of the cache, such as 3/16; the last of the parts joins them. With `on`, the number of
                parts.
            on: `ray` spreads the parts over a Ray cluster.
        """
        if part is None and on is None:
            datamodule.prepare_data()
        else:
            assert isinstance(datamodule, SequenceData | RawData)
            prepare_parts(datamodule, part, on)
