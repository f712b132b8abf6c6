"""Lightning's Trainer as a run has it."""

from __future__ import annotations

import pytorch_lightning as pl

from helicon.formats.progress import log

Callback = pl.Callback  # for who may not import Lightning


class HeliconTrainer(pl.Trainer):
    """Lightning's Trainer, which can also build the token cache alone."""

    def prepare(
        self, model: pl.LightningModule, datamodule: pl.LightningDataModule, ckpt_path: str | None = None,
        weights_only: bool | None = None,
    ) -> None:  # fmt: skip
        """Fits the tokenizers and builds the token cache; says what was found.

        ckpt_path, weights_only: named by the config of a run, which is for all commands; what a checkpoint keeps of the
        data these have already.
        """
        datamodule.prepare_data()
        log(datamodule.prepared.summary())  # type: ignore[attr-defined]
