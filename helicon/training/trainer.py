"""Lightning's Trainer as a run has it."""

from __future__ import annotations

import sys

import pytorch_lightning as pl

from helicon.formats.printable import print_text


class HeliconTrainer(pl.Trainer):
    """Lightning's Trainer, which can also build the token cache alone."""

    def prepare(self, model: pl.LightningModule, datamodule: pl.LightningDataModule) -> None:
        """Fits the tokenizers and builds the token cache; says what was found."""
        datamodule.prepare_data()
        print_text(datamodule.prepared.summary(), sys.stderr)  # type: ignore[attr-defined]
