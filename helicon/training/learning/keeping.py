"""Callbacks that save a run: its best model as a bundle, and the checkpoints that it is resumed from."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

import helicon
from helicon.bundle import storage as bundle
from helicon.formats import checked
from helicon.formats.json_files import read_json
from helicon.training.errors import TrainingError
from helicon.training.learning.averaging import averaged_weights
from helicon.training.learning.base import RunModule
from helicon.training.learning.validating import any_rank, between_steps, validation_is_due
from helicon.training.runs.record import FILE, read_record
from helicon.vqvae import storage


class KeepBundle(pl.Callback):
    """Callback that saves RUN/model: the weights of the best held-out loss so far, or of the last step without any.

    Args:
        run: folder of the run.
        last: whether to save the weights of the last step at the end, whatever their held-out loss: an overfitted model
            may follow its conditions better.
        resuming: whether the loss of RUN/model is the one to beat; False for a run that starts from the checkpoint of
            another run.
    """

    def __init__(self, run: Path, last: bool = False, resuming: bool = False) -> None:
        self.run, self.last, self.resuming, self.best = run, last, resuming, float("inf")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Lightning validates at the end if `should_stop` is set, but not if its steps run out; the last may be the best
        if 0 < trainer.max_steps <= trainer.global_step:
            trainer.should_stop = True

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        assert isinstance(pl_module, RunModule)
        logged = trainer.callback_metrics.get("val/loss")  # on rank 0 alone
        loss = trainer.strategy.broadcast(None if logged is None else float(logged))
        if loss is None:  # nothing is held out
            return
        pl_module.stop_unless_finite("validation loss", torch.tensor(loss))
        if loss < self.best:
            self.best = loss
            self._save(trainer, pl_module)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.last:
            self.best = float("inf")
        if trainer.strategy.broadcast(self.best == float("inf")):
            self._save(trainer, pl_module)

    def _save(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, RunModule)
        notes: dict[str, Any] = {"step": trainer.global_step, "run": self.run.name, "helicon": helicon.__version__}
        notes |= {} if self.best == float("inf") else {"val_loss": self.best}
        with averaged_weights(trainer, pl_module):
            pl_module.save(self.run / "model", notes)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Read from the bundle: a checkpoint may be older than the validation after its step, which is not repeated
        if self.resuming:
            self.best = kept_loss(self.run / "model")

    def save_if_none(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the current model of a run that ends before its first validation.

        Nothing is saved of a codec whose codebooks are not initialised yet.

        Args:
            trainer: of the run.
            pl_module: module to save.
        """
        if trainer.strategy.broadcast(not has_model(self.run)):
            with suppress(TrainingError):
                self._save(trainer, pl_module)


def has_model(run: Path) -> bool:
    """Return True if there is a bundle or codec in a run's folder yet."""
    return any((run / "model" / name).is_file() for name in (bundle.CONFIG, storage.CONFIG))


def kept_loss(folder: Path) -> float:
    """Return the held-out loss in the notes of the bundle or codec in a folder; infinity without one or if damaged."""
    for name in (bundle.CONFIG, storage.CONFIG):
        try:
            return checked.number("val_loss", read_json(folder / name, links=False)["notes"]["val_loss"])
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return float("inf")


class KeepCheckpoints(pl.Callback):
    """Callback that saves RUN/checkpoints/last.ckpt, with the one before as previous.ckpt, and the progress record.

    In place of Lightning's ModelCheckpoint, which the user may add beside it. That one also saves between steps while
    gradients are accumulated, or with a validation due that a resumed run would leave out; it keeps no previous
    checkpoint in reserve, and does not write the record, which has to be of the same step.

    Args:
        run: folder of the run.
        resuming: whether validations recorded in the folder are the run's own.
        minutes: between checkpoints. 5: at most that much training is lost when a run is killed.
    """

    def __init__(self, run: Path, resuming: bool = False, minutes: float = 5.0) -> None:
        self.run, self.resuming, self.folder, self.seconds = run, resuming, run / "checkpoints", 60 * minutes
        self.saved_at, self._saved_step, self._waited = time.monotonic(), -1, False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, RunModule)
        # A validation after the checkpoint's last step came later than the checkpoint
        if self.resuming and (self.run / FILE).exists():
            record = pl_module.record
            recorded = (step for step in read_record(self.run).validations if step <= record.steps)
            record.validations = sorted({*record.validations, *recorded})

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        if between_steps(trainer) and any_rank(trainer, time.monotonic() - self.saved_at > self.seconds):
            # A resumed run does not repeat a validation that is due now: wait one step, in case it is killed in it
            self._waited = not self._waited and any_rank(trainer, validation_is_due(trainer))
            if not self._waited:
                self.save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, RunModule)
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        if trainer.global_step not in pl_module.record.validations[-1:]:
            pl_module.record.validations.append(trainer.global_step)
        if trainer.is_global_zero and self._saved_step == trainer.global_step:
            pl_module.record.write(self.run)

    def save(self, trainer: pl.Trainer) -> Path:
        """Save last.ckpt now and return its path; once it is complete, the one before becomes previous.ckpt."""
        last, following = self.folder / "last.ckpt", self.folder / "next.ckpt"
        # Write the step's metrics now, as Lightning would after this hook: a run that is killed in between lacks them.
        # No public member has the metrics of this step
        if trainer.training and not trainer.should_stop:
            trainer._logger_connector.update_train_step_metrics()
        trainer.save_checkpoint(following)
        if trainer.is_global_zero:
            if last.exists():
                last.replace(self.folder / "previous.ckpt")
            following.replace(last)
            assert isinstance(trainer.lightning_module, RunModule)
            trainer.lightning_module.record.write(self.run)
        self.saved_at, self._saved_step = time.monotonic(), trainer.global_step
        return last


class EndWithCheckpoint(pl.Callback):
    """Callback that saves a checkpoint at the end, before callbacks that change the weights then (WeightAveraging).

    KeepCheckpoints itself is after those callbacks, so that its checkpoints have their averages of the same step.

    Args:
        checkpoints: callback that saves.
    """

    def __init__(self, checkpoints: KeepCheckpoints) -> None:
        self.checkpoints = checkpoints

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.checkpoints.save(trainer)
