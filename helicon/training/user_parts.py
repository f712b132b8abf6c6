"""Callbacks, loggers and a profiler of the user's own in a trainer beside those of a run."""

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
    """What `--trainer.callbacks` and `--trainer.logger` bring."""

    callbacks: list[pl.Callback]
    loggers: list[Logger]

    def options(self, trainer: Mapping[str, Any]) -> dict[str, bool]:
        """Options without which Lightning refuses these callbacks: it makes them false where it makes none itself."""
        needed = {"enable_checkpointing": Checkpoint, "enable_progress_bar": ProgressBar}
        return {
            name: bool(trainer.get(name)) or any(isinstance(callback, kind) for callback in self.callbacks)
            for name, kind in needed.items()
        }


class PrintProfile(pl.Callback):
    """Prints what `--trainer.profiler` has found, unless it went to a file of its own: before Lightning forgets it."""

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        profiler = trainer.profiler  # type: ignore[attr-defined]
        if trainer.is_global_zero and not profiler.filename and (report := profiler.summary()):
            log(report)
