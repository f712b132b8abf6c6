"""Callback of a training on a stream: its idle time, and a checkpoint where the source ends before the training."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl

from helicon.data.streaming.encode import StreamError
from helicon.data.streaming.feeder import Feeder
from helicon.formats.progress import log
from helicon.training.learning.keeping import KeepCheckpoints
from helicon.training.learning.validating import any_rank, between_steps


class FollowStream(pl.Callback):
    """Callback that logs the time that a training waits for tokens, and ends the thread that makes them.

    Where the source cannot be read any more, it saves a checkpoint, from which the run is resumed.

    Args:
        checkpoints: callback that saves; None where nothing is written.
    """

    def __init__(self, checkpoints: KeepCheckpoints | None) -> None:
        self.checkpoints = checkpoints
        self._saved = False

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any) -> None:
        feeder = _feeder(trainer)
        pl_module.log("stream/waited", feeder.waited, rank_zero_only=True)
        if between_steps(trainer) and any_rank(trainer, isinstance(feeder.failure, StreamError)):
            self._save(trainer)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        if self._saved:  # by the start of the next batch the last step's metrics are written and its validation done
            raise _feeder(trainer).failure or StreamError("the shards of another process cannot be read any more")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        feeder = _feeder(trainer)
        feeder.stop()
        if trainer.is_global_zero:
            log("\n".join(feeder.report()))

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        # The next batch did not come. Of several ranks others may wait in a step, and nothing can be saved together
        if isinstance(exception, StreamError) and trainer.world_size == 1 and trainer.global_step:
            self._save(trainer)
        trainer.datamodule.close()  # type: ignore[attr-defined]

    def _save(self, trainer: pl.Trainer) -> None:
        if self.checkpoints is not None and not self._saved:
            self.checkpoints.save(trainer)
        self._saved = True


def _feeder(trainer: pl.Trainer) -> Feeder:
    feeder = trainer.datamodule.feeder  # type: ignore[attr-defined]
    assert feeder is not None, "a training has batches"
    return feeder
