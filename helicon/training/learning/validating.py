"""When a validation is due: by the clock, or as Lightning counts."""

from __future__ import annotations

import math
import time
from typing import Any

import pytorch_lightning as pl

from helicon.training.learning.base import RunModule
from helicon.training.learning.epochs import NEVER


class ValidateInTime(pl.Callback):
    """Says when it is time for a validation: the first process does, whose clock is for all; a repeated run when that
    run had its own.

    seconds: between validations. Lightning counts batches alone: it is told that one of them is due after this step.
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
    """Whether no gradients are waiting for more batches: a checkpoint does not hold them."""
    done = trainer.fit_loop.batch_idx + 1  # of Lightning's epoch, at the end of which a step is made in any case
    return done % trainer.accumulate_grad_batches == 0 or done == trainer.num_training_batches


def validation_is_due(trainer: pl.Trainer) -> bool:
    """Whether a validation follows this batch, as `trainer.val_check_batch` says, or as the last thing of a run."""
    loop = trainer.fit_loop
    enough = loop.epoch_progress.current.processed >= (loop.min_epochs or 0)  # type: ignore[attr-defined]
    if trainer.should_stop and enough and trainer.global_step >= (loop.min_steps or 0):
        return trainer.enable_validation
    interval = trainer.val_check_batch or math.inf
    return trainer.enable_validation and (loop.total_batch_idx + 1) % interval == 0


def any_rank(trainer: pl.Trainer, holds: bool) -> bool:
    """Whether it holds on any of the processes, which must do the same."""
    return holds if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(holds, all=False)
