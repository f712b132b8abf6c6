"""Callbacks that show a run: progress line, and samples of the model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from helicon.formats.progress import stream
from helicon.formats.quantities import duration
from helicon.training.learning.averaging import averaged_weights
from helicon.training.learning.base import RunModule
from helicon.training.learning.epochs import EpochsToSteps


class Progress(pl.Callback):
    """Callback that prints a progress line: percent done, step, losses, tokens a second, ETA.

    Args:
        epochs: says how many epochs are done.
        out: text stream; None for the usual one. On a terminal the line is rewritten every .5 s, elsewhere a new line
            is printed every 10 s, so that logs stay short.
    """

    def __init__(self, epochs: EpochsToSteps, out: Any = None) -> None:
        self.epochs, self.out = epochs, out or stream()
        self.terminal = self.out.isatty()
        self.units = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        assert isinstance(pl_module, RunModule)
        self.start, self.printed, self.units, self.begun = time.monotonic(), 0.0, 0, pl_module.progress()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, RunModule)
        self.units += pl_module.throughput_units(batch) * trainer.world_size
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
        speed = f"{self.units / max(seconds, 1e-9):,.0f} {module.unit}/s"
        metrics = module.progress_metrics(trainer.callback_metrics)
        parts = [f"{100 * done:3.0f} %", f"step {trainer.global_step:,}", *self.epochs.progress_words(trainer)]
        parts += [*metrics, speed, f"ETA {duration(left)}"]
        print(("\r\x1b[K" if self.terminal else "") + "  ".join(parts), end=end, file=self.out, flush=True)


class SampleWriter(pl.Callback):
    """Callback that writes samples to RUN/samples after validations, within a share of the run's time.

    A sharded model writes none, as rank 0 has only its shard.

    Args:
        run: folder of the run.
        share: of the time since the start that samples may have taken when the next ones begin.
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
        with torch.random.fork_rng(devices=[]), averaged_weights(trainer, pl_module):
            pl_module.write_samples(self.folder / f"step-{trainer.global_step:06d}")
        pl_module.train()
        self.spent += time.monotonic() - begun
