"""What a test of training says in one line: a tiny fit, what it logged, what it weighs, and a stop at a step."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from pytorch_lightning.callbacks import Timer
from torch import Tensor

from helicon.commands.fit import quiet
from helicon.training.learning.base import RunModule
from helicon.training.learning.validating import ValidateInTime
from helicon.training.run import run_lightning
from helicon.training.runs.checkpoints import read_checkpoint

quiet()

TINY = [
    "--model.layers=2", "--model.width=32", "--model.heads=2", "--model.context=64", "--data.batch_size=4",
    "--data.val_split=0.2", "--trainer.accelerator=cpu", "--trainer.max_steps=12", "--trainer.val_check_interval=6",
    "--trainer.log_every_n_steps=1", "--samples=false",
]  # fmt: skip


def arguments(midi: Path, runs: Path, name: str, *extra: str) -> list[str]:
    """Arguments of `helicon fit`; a later one wins."""
    return ["--config", "music", "--data.path", str(midi), "--runs", str(runs), "--name", name, *TINY, *extra]


def fit(midi: Path, runs: Path, name: str, *extra: str) -> Path:
    """The folder of a finished run."""
    return run_lightning("fit", arguments(midi, runs, name, *extra)).run_folder


def resume_words(run: Path) -> list[str]:
    """Options of `helicon fit` that go on with a run, as they are typed."""
    checkpoint = str(run / "checkpoints" / "last.ckpt")
    place = ["--runs", str(run.parent), "--name", run.name]
    return ["--config", str(run / "config.yaml"), *place, "--ckpt_path", checkpoint]


def weights(run: Path, checkpoint: str = "last.ckpt") -> dict[str, Tensor]:
    """The weights of a run's checkpoint."""
    return read_checkpoint(run / "checkpoints" / checkpoint)["state_dict"]


@contextmanager
def signalled_at(step: int, number: int = signal.SIGTERM) -> Iterator[None]:
    """Raises a signal as the step begins, once."""
    begin, raised = RunModule.on_train_batch_start, []

    def on_train_batch_start(self: RunModule, batch, batch_idx: int) -> None:
        if self.global_step == step and not raised:
            raised.append(step)
            signal.raise_signal(number)
        begin(self, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunModule, "on_train_batch_start", on_train_batch_start)
        yield
    assert raised, f"step {step} never came"


# Instead of steps, and a validation after so long
MINUTES = ("--trainer.max_steps=-1", "--trainer.max_time=00:00:00:20", "--trainer.val_check_interval=00:00:00:03")


def jumping_clock(monkeypatch: pytest.MonkeyPatch, pace: float) -> None:
    """A clock that jumps ahead whenever it is looked at, as on a machine that others use: some looks a step."""
    looks = count(1)

    def time_elapsed(self: Timer, stage: str = "train") -> float:
        return self._offset + (pace * next(looks) ** 1.1 if self.start_time() else 0.0)

    monkeypatch.setattr(Timer, "time_elapsed", time_elapsed)
    monkeypatch.setattr(ValidateInTime, "clock", lambda self: time.monotonic() + pace * next(looks))
