"""The user's callbacks, loggers and profiler, beside those of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint, ProgressBar
from pytorch_lightning.loggers import Logger

from helicon.formats.progress import log


@dataclass
class UserParts:
    """Callbacks of `--trainer.callbacks` and loggers of `--trainer.logger`."""

    callbacks: list[pl.Callback]
    loggers: list[Logger]

    def options(self, trainer: Mapping[str, Any]) -> dict[str, bool]:
        """Return {"enable_checkpointing": bool, "enable_progress_bar": bool}, as the user's callbacks need them.

        Lightning refuses a ModelCheckpoint or progress bar where its option is False, as by default here.
        """
        needed = {"enable_checkpointing": Checkpoint, "enable_progress_bar": ProgressBar}
        return {
            name: bool(trainer.get(name)) or any(isinstance(callback, kind) for callback in self.callbacks)
            for name, kind in needed.items()
        }


class PrintProfile(pl.Callback):
    """Callback that prints the summary of `--trainer.profiler` at the end, unless it went to a file of its own."""

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        profiler = trainer.profiler  # type: ignore[attr-defined]
        if trainer.is_global_zero and not profiler.filename and (report := profiler.summary()):
            log(report)
