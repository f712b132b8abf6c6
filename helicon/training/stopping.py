"""How a training ends before its time: told to by a signal, with a checkpoint; or by an error, in every process."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.strategies.launchers.subprocess_script import _SubprocessScriptLauncher

from helicon.formats.progress import log
from helicon.training.learning.base import RunModule
from helicon.training.learning.keeping import KeepBundle, KeepCheckpoints
from helicon.training.learning.validating import any_rank, between_steps, validation_is_due
from helicon.training.processes import is_first, leave_on_sigterm


class Interrupted(BaseException):
    """A run that was told to stop, its checkpoint saved. Not an Exception, so that nothing takes it for a failure."""

    def __init__(self, number: int, checkpoint: Path) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number, self.checkpoint = number, checkpoint


class StopOnSignal(pl.Callback):
    """Ctrl-C and SIGTERM end the run after the step at hand, with a checkpoint; a second one ends it at once."""

    def __init__(self, checkpoints: KeepCheckpoints, bundle: KeepBundle) -> None:
        self.checkpoints, self.bundle, self.signal = checkpoints, bundle, 0
        self._saved: Path | None = None
        self._waited = False
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # By now Lightning has put in a handler of its own, which would end the run without a checkpoint
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._before[number] = signal.signal(number, self._note)
            except ValueError:  # not the main thread: whoever runs the thread handles signals
                return

    def _note(self, number: int, frame: Any) -> None:
        if self.signal:
            raise SystemExit(128 + number)
        self.signal = number
        if is_first():
            log("\nstopping after this step; once more stops at once")

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any) -> None:
        assert isinstance(pl_module, RunModule)
        if between_steps(trainer) and any_rank(trainer, bool(self.signal)):
            # A rate that goes by a validation is not that of a checkpoint from before it: one more step, but only one
            self._waited = not self._waited and pl_module.user_optimizer.on_plateau and validation_is_due(trainer)
            if not self._waited:
                self._saved = self.checkpoints.save(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        if self._saved:  # only now are the metrics of the last step written and its validation done
            self.bundle.save_if_none(trainer, pl_module)
            raise Interrupted(self.signal or signal.SIGTERM, self._saved)

    # Before Lightning puts back what was there before its own; `teardown` would come after that
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)


class StopSiblingRanks(pl.Callback):
    """A process that fails ends those that it has started: they would wait for it, on GPUs for long."""

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning's own handler waits for processes that wait for this one; that of a `fit` is replaced anyway
        if trainer.state.fn != "fit" and trainer.world_size > 1:
            leave_on_sigterm()

    on_test_start = on_validation_start

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        launcher = trainer.strategy.launcher
        # All processes have agreed to be interrupted
        if isinstance(launcher, _SubprocessScriptLauncher) and not isinstance(exception, Interrupted):
            launcher.kill(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
