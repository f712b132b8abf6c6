"""What a run keeps as it trains: its model, and the checkpoints that it is resumed from."""

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
    """Keeps RUN/model, the weights of the best held-out loss so far; of the last step, where nothing is held out.

    last: at the end those of the last step, whatever their held-out loss: a model that has learned a few examples by
    heart may heed its conditions better. resuming: whether what the run kept before counts; a run that starts from the
    checkpoint of another keeps its own best.
    """

    def __init__(self, run: Path, last: bool = False, resuming: bool = False) -> None:
        self.run, self.last, self.resuming, self.best = run, last, resuming, float("inf")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Lightning validates when it is told to stop, not when its steps run out: the last ones may be the best
        if 0 < trainer.max_steps <= trainer.global_step:
            trainer.should_stop = True

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        assert isinstance(pl_module, RunModule)
        found = trainer.callback_metrics.get("val/loss")  # which only the first process has
        loss = trainer.strategy.broadcast(None if found is None else float(found))
        if loss is None:  # nothing is held out
            return
        pl_module.stop_unless_finite("held-out loss", torch.tensor(loss))
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
        notes |= {} if self.best == float("inf") else {"heldout_loss": self.best}
        with averaged_weights(trainer, pl_module):
            pl_module.save(self.run / "model", notes)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # From the model itself: a checkpoint is older than the validation that follows it, which is not repeated
        if self.resuming:
            self.best = kept_loss(self.run / "model")

    def save_if_none(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """A model as it stands for a run that ends before its first validation; none of a codec without codebook."""
        if trainer.strategy.broadcast(not has_model(self.run)):
            with suppress(TrainingError):
                self._save(trainer, pl_module)


def has_model(run: Path) -> bool:
    """Whether a run has kept a model or a codec yet."""
    return any((run / "model" / name).is_file() for name in (bundle.CONFIG, storage.CONFIG))


def kept_loss(folder: Path) -> float:
    """Held-out loss of the model or codec that was kept there; infinity where none is known."""
    for name in (bundle.CONFIG, storage.CONFIG):
        try:
            return checked.number("heldout_loss", read_json(folder / name, links=False)["notes"]["heldout_loss"])
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return float("inf")


class KeepCheckpoints(pl.Callback):
    """RUN/checkpoints/last.ckpt, and previous.ckpt should that one be damaged; saved every `minutes`.

    With each goes the record of the run's progress. resuming: whether validations on record there are the run's own.

    No ModelCheckpoint, of which there may be some beside it: that one saves by its own count of steps or epochs, also
    between steps while gradients are added up, or with a validation pending that a resumed run would leave out; without
    the one before as a reserve, and without the record, which has to be that of the same step.
    """

    def __init__(self, run: Path, resuming: bool = False, minutes: float = 5.0) -> None:
        self.run, self.resuming, self.folder, self.seconds = run, resuming, run / "checkpoints", 60 * minutes
        self.saved_at, self._saved_step, self._waited = time.monotonic(), -1, False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, RunModule)
        if self.resuming and (self.run / FILE).exists():  # one of the checkpoint's last step came after it
            record = pl_module.record
            known = (step for step in read_record(self.run).validations if step <= record.steps)
            record.validations = sorted({*record.validations, *known})

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        if between_steps(trainer) and any_rank(trainer, time.monotonic() - self.saved_at > self.seconds):
            # A resumed run does not make the validation that follows: one that is killed in it would go without
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
        """Saves now; once that is done the last checkpoint becomes the previous one."""
        last, following = self.folder / "last.ckpt", self.folder / "next.ckpt"
        if trainer.training and not trainer.should_stop:  # else a run that is killed now would go without them
            # Lightning logs them after this hook; no public member says which are those of this step
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
    """Saves as training ends: before all callbacks that change the weights then, as Lightning's WeightAveraging does.

    After each step a checkpoint is saved behind them, so that it has their averages.
    """

    def __init__(self, checkpoints: KeepCheckpoints) -> None:
        self.checkpoints = checkpoints

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.checkpoints.save(trainer)
