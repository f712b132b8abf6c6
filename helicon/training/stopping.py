"""Early end of a training: by a signal, with a checkpoint; or by an error, in all ranks."""

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
    """Stop of a run by a signal, after a checkpoint; no Exception, so that no handler takes it for a failure.

    Args:
        number: of the signal, SIGINT or SIGTERM.
        checkpoint: saved file.
    """

    def __init__(self, number: int, checkpoint: Path) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.number, self.checkpoint = number, checkpoint


class StopOnSignal(pl.Callback):
    """Callback that on Ctrl-C or SIGTERM stops after the current step, with a checkpoint; a second one exits at once.

    Args:
        checkpoints: callback that saves checkpoints.
        bundle: callback that saves the bundle, for a run that has none yet.
    """

    def __init__(self, checkpoints: KeepCheckpoints, bundle: KeepBundle) -> None:
        self.checkpoints, self.bundle, self.signal = checkpoints, bundle, 0
        self._saved: Path | None = None
        self._waited = False
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Replaces Lightning's handlers, installed before, which would end the run without a checkpoint
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
            # Learning rates that follow validations change in the one due now: wait one step for it, so that the
            # checkpoint has its result
            self._waited = not self._waited and pl_module.user_optimizer.on_plateau and validation_is_due(trainer)
            if not self._waited:
                self._saved = self.checkpoints.save(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        if self._saved:  # by the start of the next batch the last step's metrics are written and its validation done
            self.bundle.save_if_none(trainer, pl_module)
            raise Interrupted(self.signal or signal.SIGTERM, self._saved)

    # Not in `teardown`: before it Lightning restores the handlers that its own replaced
    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._restore()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)


class StopSiblingRanks(pl.Callback):
    """Callback of rank 0 that on an error kills the ranks it has started, which would wait for it in collectives."""

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning's handler waits for ranks that wait for this one; in a `fit` StopOnSignal replaces it
        if trainer.state.fn != "fit" and trainer.world_size > 1:
            leave_on_sigterm()

    on_test_start = on_validation_start

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        launcher = trainer.strategy.launcher
        # When interrupted, all ranks have agreed on it and end by themselves
        if isinstance(launcher, _SubprocessScriptLauncher) and not isinstance(exception, Interrupted):
            launcher.kill(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
