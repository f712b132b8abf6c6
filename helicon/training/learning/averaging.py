"""An exponential moving average of the weights, `--model.ema`, by Lightning's WeightAveraging.

A model is validated, kept and sampled from with the average; training goes on from the weights themselves. A checkpoint
has both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from warnings import catch_warnings, filterwarnings

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor


class AverageWeights(WeightAveraging):
    """An average of the weights after each step, of which those before count for `decay` of it.

    The n-th average has a decay of (1 + n) / (10 + n) at most, so that a short run does not remember how it began (the
    schedule of TensorFlow's ExponentialMovingAverage). Buffers are tables, which no step changes.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(use_buffers=False, avg_fn=self._mean)
        self.decay = decay

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        pl_module.to(trainer.strategy.root_device)  # where the average is made to be, too
        with catch_warnings():  # of layers in shards, which are refused beside an average
            filterwarnings("ignore", "You're using the WeightAveraging callback")
            super().setup(trainer, pl_module, stage)

    def _mean(self, mean: Tensor, weight: Tensor, count: Tensor) -> Tensor:
        """The next average, of one parameter; count: averages before it."""
        share = (9 / (10 + count)).clamp(min=1 - self.decay)
        return mean.lerp(weight.to(mean.dtype), share.to(mean.dtype))


@contextmanager
def averaged_weights(trainer: pl.Trainer, pl_module: pl.LightningModule) -> Iterator[None]:
    """Gives the module the weights that it is validated with while it lasts: averages where a callback makes some.

    That callback may be the user's own WeightAveraging. Lightning's puts them in for a validation and takes them out
    after it: by the same hooks they are put in here.
    """
    found = [callback for callback in trainer.callbacks if isinstance(callback, WeightAveraging)]  # type: ignore[attr-defined]
    for callback in found:
        callback.on_validation_epoch_start(trainer, pl_module)
    try:
        yield
    finally:
        for callback in reversed(found):
            callback.on_validation_epoch_end(trainer, pl_module)
