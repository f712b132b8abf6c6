"""What happens around a training: checkpoints, the bundle, samples, progress."""

from __future__ import annotations

import math
import sys
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
from helicon.training.averaging import averaged
from helicon.training.base import RunModule
from helicon.training.epochs import NEVER, Epochs
from helicon.training.errors import TrainingError
from helicon.training.record import FILE, read_record
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
        loss = float(trainer.callback_metrics.get("val/loss", math.inf))  # which only the first process has
        if trainer.strategy.broadcast(loss < self.best):
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
        with averaged(trainer, pl_module):
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
        if between_steps(trainer) and anywhere(trainer, time.monotonic() - self.saved_at > self.seconds):
            # A resumed run does not make the validation that follows: one that is killed in it would go without
            self._waited = not self._waited and anywhere(trainer, validation_is_due(trainer))
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


def anywhere(trainer: pl.Trainer, holds: bool) -> bool:
    """Whether it holds on any of the processes, which must do the same."""
    return holds if trainer.world_size == 1 else trainer.strategy.reduce_boolean_decision(holds, all=False)


class Progress(pl.Callback):
    """One line: share done, ETA, losses, tokens a second. Rewritten in place on a terminal, every 10 s elsewhere."""

    def __init__(self, epochs: Epochs, out: Any = None) -> None:
        self.epochs, self.out = epochs, out or sys.stderr
        self.terminal = self.out.isatty()
        self.amount = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, RunModule)
        self.start, self.printed, self.amount, self.begun = time.monotonic(), 0.0, 0, pl_module.progress()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, RunModule)
        self.amount += pl_module.amount(batch) * trainer.world_size
        now = time.monotonic()
        if now - self.printed > (0.5 if self.terminal else 10.0):
            self.printed = now
            self._print(trainer, pl_module, end="" if self.terminal else "\n")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._print(trainer, pl_module, end="\n")

    def _print(self, trainer: pl.Trainer, module: pl.LightningModule, end: str) -> None:
        assert isinstance(module, RunModule)
        if not trainer.is_global_zero:
            return
        seconds, done = time.monotonic() - self.start, module.progress()
        rate = (done - self.begun) / seconds if seconds else 0.0
        left = (1 - done) / rate if rate > 0 else 0.0
        speed = f"{self.amount / max(seconds, 1e-9):,.0f} {module.unit}/s"
        told = module.headline(trainer.callback_metrics)
        parts = [f"{100 * done:3.0f} %", f"step {trainer.global_step:,}", *self.epochs.words(trainer)]
        parts += [*told, speed, f"ETA {clock(left)}"]
        print(("\r\x1b[K" if self.terminal else "") + "  ".join(parts), end=end, file=self.out, flush=True)


def clock(seconds: float) -> str:
    """1:05 or 2:00:05."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


class Samples(pl.Callback):
    """Samples into RUN/samples as it trains: at each validation, but never for more than a share of the run's time.

    None of a model in shards, of which the first process has no more than a part.
    """

    def __init__(self, run: Path, share: float = 0.05) -> None:
        self.folder, self.share = run / "samples", share
        self.spent = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, RunModule)
        if trainer.sanity_checking or trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        if pl_module.device_mesh is not None:
            return
        begun = time.monotonic()
        if self.spent > self.share * (begun - self.start):
            return
        with torch.random.fork_rng(devices=[]), averaged(trainer, pl_module):
            pl_module.write_samples(self.folder / f"step-{trainer.global_step:06d}")
        pl_module.train()
        self.spent += time.monotonic() - begun
