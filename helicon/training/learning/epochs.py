"""Options in epochs, converted to steps: batches are endless, and only the data module knows the length of an epoch.

Lightning's own epochs are passes over a finite loader. Ours is endless: windows are cut anew each time, and a
checkpoint is a position in one sequence of batches, from which a run resumes bit for bit. With
`--trainer.limit_train_batches` or `overfit_batches` Lightning's epochs are of that many batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Timer

from helicon.data.numbered import NumberedBatches

NEVER = 1 << 40  # batches between validations, more than a run has: Lightning's counter is off


@dataclass(frozen=True)
class Intervals:
    """Trainer options in seconds or epochs, which Helicon applies instead of Lightning.

    Args:
        seconds: between validations, for a `val_check_interval` in time; else None.
        share: of an epoch between validations, for a `val_check_interval` in epochs; else None.
        min_epochs: epochs before a run may stop early.
        overfit: training batches that are repeated over and over, as a number or a share of an epoch; 0 for all.
    """

    seconds: float | None = None
    share: float | None = None
    min_epochs: int = 0
    overfit: int | float = 0

    @staticmethod
    def of(trainer: Mapping[str, Any]) -> Intervals:
        """Return the `Intervals` that `--trainer.*` says, a mapping option -> value."""
        interval, least = trainer["val_check_interval"], trainer["min_epochs"] or 0
        seconds = None if isinstance(interval, int | float | None) else Timer(interval).time_remaining()
        share = 1.0 if interval is None else interval if isinstance(interval, float) else None
        return Intervals(seconds, share, least, trainer["overfit_batches"])

    def options(self, trainer: Mapping[str, Any]) -> dict[str, Any]:
        """Return values of val_check_interval and overfit_batches in place of those that Helicon applies itself.

        Args:
            trainer: options of `--trainer.*`, name -> value.
        """
        interval = trainer["val_check_interval"] if self.seconds is self.share is None else NEVER
        return {"val_check_interval": interval, "overfit_batches": 0.0}


class EpochsToSteps(pl.Callback):
    """Callback that converts epochs to steps before the first step, and sets them in Lightning's loops.

    Args:
        intervals: of the run.

    Attributes:
        batches: number of batches of an epoch; 0 if no option is in epochs.
    """

    def __init__(self, intervals: Intervals) -> None:
        self.intervals, self.batches = intervals, 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit" or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        batches: NumberedBatches[Any] = trainer.datamodule.batches  # type: ignore[attr-defined]
        if self.intervals.overfit:
            batches.repeated = _batch_count(self.intervals.overfit, batches)
            trainer.limit_train_batches = trainer.limit_val_batches = batches.repeated
        elif isinstance(trainer.limit_train_batches, float) and trainer.limit_train_batches < 1:
            trainer.limit_train_batches = _batch_count(trainer.limit_train_batches, batches)
        limited = isinstance(trainer.limit_train_batches, int)
        most, least = max(trainer.max_epochs or 0, 0), self.intervals.min_epochs
        if most or least or self.intervals.share is not None:
            self.batches = int(trainer.limit_train_batches) if limited else batches.epoch
        loop, accumulated = trainer.fit_loop.epoch_loop, trainer.accumulate_grad_batches

        def steps(epochs: int) -> int:
            # Lightning makes a step at the end of each of its epochs, however few gradients are accumulated by then
            if limited:
                return epochs * -(-self.batches // accumulated)
            return -(-epochs * self.batches // accumulated)

        if most:
            loop.max_steps = min(steps(most), trainer.max_steps) if trainer.max_steps > 0 else steps(most)
        if not limited:  # one of Lightning's epochs would never end
            trainer.fit_loop.min_epochs = 0
            loop.min_steps = max(steps(least), loop.min_steps or 0) or None
        if self.intervals.share is not None:
            trainer.val_check_interval = max(1, round(self.intervals.share * self.batches))

    def progress_words(self, trainer: pl.Trainer) -> list[str]:
        """Return [`epoch 1.5 of 4`] for the progress line; [] for a run whose length is not in epochs."""
        if not self.batches or (trainer.max_epochs or -1) < 0:
            return []
        done = trainer.global_step * trainer.accumulate_grad_batches / self.batches
        return [f"epoch {min(done, trainer.max_epochs or 0):.1f} of {trainer.max_epochs}"]


def _batch_count(share: int | float, batches: NumberedBatches[Any]) -> int:
    """Return a number of batches: an int as it is, a float as a share of an epoch, at least 1."""
    return share if isinstance(share, int) else max(1, int(share * batches.epoch))
