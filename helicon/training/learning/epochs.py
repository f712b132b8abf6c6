"""What is asked for in epochs, turned into steps: batches are endless, and only the data know how long an epoch is.

Lightning's own epochs are passes over a loader that ends. Ours does not: windows are cut anew each time they come, and
a checkpoint is a place in one row of batches, from which a run is resumed to the bit. `--trainer.limit_train_batches`
and `overfit_batches` make Lightning's epochs, of so many batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Timer

from helicon.data.numbered import NumberedBatches

NEVER = 1 << 40  # batches between two validations where something else says when they are


@dataclass(frozen=True)
class Intervals:
    """How long a run is and when it is validated, of what only the data can turn into steps.

    Args:
        seconds: between validations, where the clock says when they are.
        share: of an epoch between validations, where they are told so.
        min_epochs: that a run has at least, whatever would stop it.
        overfit: the only batches that are trained on, over and over: their number, or their share of an epoch.
    """

    seconds: float | None = None
    share: float | None = None
    min_epochs: int = 0
    overfit: int | float = 0

    @staticmethod
    def of(trainer: Mapping[str, Any]) -> Intervals:
        """Those of `--trainer.*`."""
        interval, least = trainer["val_check_interval"], trainer["min_epochs"] or 0
        seconds = None if isinstance(interval, int | float | None) else Timer(interval).time_remaining()
        share = 1.0 if interval is None else interval if isinstance(interval, float) else None
        return Intervals(seconds, share, least, trainer["overfit_batches"])

    def options(self, trainer: Mapping[str, Any]) -> dict[str, Any]:
        """What Lightning is told instead, which would not know what to do with the others."""
        interval = trainer["val_check_interval"] if self.seconds is self.share is None else NEVER
        return {"val_check_interval": interval, "overfit_batches": 0.0}


class EpochsToSteps(pl.Callback):
    """Turns epochs into steps before the first step. batches: of an epoch; 0 where nothing is asked for in epochs."""

    def __init__(self, intervals: Intervals) -> None:
        self.intervals, self.batches = intervals, 0

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage != "fit" or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        found: NumberedBatches[Any] = trainer.datamodule.batches  # type: ignore[attr-defined]
        if self.intervals.overfit:
            found.repeated = _count(self.intervals.overfit, found)
            trainer.limit_train_batches = trainer.limit_val_batches = found.repeated
        elif isinstance(trainer.limit_train_batches, float) and trainer.limit_train_batches < 1:
            trainer.limit_train_batches = _count(trainer.limit_train_batches, found)
        limited = isinstance(trainer.limit_train_batches, int)
        most, least = max(trainer.max_epochs or 0, 0), self.intervals.min_epochs
        if most or least or self.intervals.share is not None:
            self.batches = int(trainer.limit_train_batches) if limited else found.epoch
        loop, several = trainer.fit_loop.epoch_loop, trainer.accumulate_grad_batches
        # Lightning makes a step at the end of each of its epochs, however few gradients are added up by then
        steps = lambda epochs: epochs * -(-self.batches // several) if limited else -(-epochs * self.batches // several)  # noqa: E731
        if most:
            loop.max_steps = min(steps(most), trainer.max_steps) if trainer.max_steps > 0 else steps(most)
        if not limited:  # an epoch of Lightning's would never end
            trainer.fit_loop.min_epochs = 0
            loop.min_steps = max(steps(least), loop.min_steps or 0) or None
        if self.intervals.share is not None:
            trainer.val_check_interval = max(1, round(self.intervals.share * self.batches))

    def words(self, trainer: pl.Trainer) -> list[str]:
        """How far a run is, for its line of progress, where it was asked for in epochs."""
        if not self.batches or (trainer.max_epochs or -1) < 0:
            return []
        done = trainer.global_step * trainer.accumulate_grad_batches / self.batches
        return [f"epoch {min(done, trainer.max_epochs or 0):.1f} of {trainer.max_epochs}"]


def _count(share: int | float, batches: NumberedBatches[Any]) -> int:
    """Batches: as many, or a share of an epoch."""
    return share if isinstance(share, int) else max(1, int(share * batches.epoch))
