"""Schedule of validations: by the clock, or by Lightning's count of batches."""

from __future__ import annotations

import math
import time
from typing import Any

import pytorch_lightning as pl

from helicon.training.learning.base import RunModule
from helicon.training.learning.epochs import NEVER


class ValidateInTime(pl.Callback):
    """Callback that starts validations by the clock of rank 0, or after the steps on record in a repeated run.

    Lightning only counts batches, so its interval is set to 1 when a validation is due, else to more than a run has.

    Args:
        seconds: between validations.
    """

    clock = staticmethod(time.monotonic)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.last = self.clock()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.last = self.clock()

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any) -> None:
        assert isinstance(pl_module, RunModule)
        if pl_module.replayed and trainer.global_step <= pl_module.replayed.steps:
            due = trainer.global_step in pl_module.replayed.validations
        else:
            due = trainer.strategy.broadcast(self.clock() - self.last >= self.seconds)
        trainer.val_check_batch = 1 if due and between_steps(trainer) else NEVER


def between_steps(trainer: pl.Trainer) -> bool:
    """Return True if no accumulated gradients wait for an optimizer step; a checkpoint does not store them."""
    done = trainer.fit_loop.batch_idx + 1  # batches of Lightning's epoch, at whose end it always makes a step
    return done % trainer.accumulate_grad_batches == 0 or done == trainer.num_training_batches


def validation_is_due(trainer: pl.Trainer) -> bool:
    """Return True if a validation follows this batch, by `trainer.val_check_batch` or because the run stops."""
    loop = trainer.fit_loop
    enough = loop.epoch_progress.current.processed >= (loop.min_epochs or 0)  # type: ignore[attr-defined]
    if trainer.should_stop and enough and trainer.global_step >= (loop.min_steps or 0):
        return trainer.enable_validation
    interval = trainer.val_check_batch or math.inf
    return trainer.enable_validation and (loop.total_batch_idx + 1) % interval == 0


def any_rank(trainer: pl.Trainer, holds: bool) -> bool:
    """Reduce a condition over ranks, which have to act alike.

    Args:
        trainer: of the run; all ranks have to call this.
        holds: True where the condition holds on this rank.

    Returns:
        True if the condition holds on any rank.
    """
    return holds if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(holds, all=False)
