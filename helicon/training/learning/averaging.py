"""An exponential moving average of the weights, `--model.ema`, by Lightning's WeightAveraging.

The average is what is validated, saved in the bundle and sampled from; optimizer steps change the weights themselves. A
checkpoint has both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from warnings import catch_warnings, filterwarnings

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from torch import Tensor


class AverageWeights(WeightAveraging):
    """Callback with an exponential moving average: average <- decay * average + (1 - decay) * weights, after each step.

    The n-th average has a decay of (1 + n) / (10 + n) at most, so that a short run forgets its initial weights (the
    schedule of TensorFlow's ExponentialMovingAverage). Buffers are tables, which no step changes.

    Args:
        decay: in [0, 1).
    """

    def __init__(self, decay: float) -> None:
        super().__init__(use_buffers=False, avg_fn=self._mean)
        self.decay = decay

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        pl_module.to(trainer.strategy.root_device)  # the device that the average is created on, too
        with catch_warnings():  # about sharded layers, which are refused beside an average
            filterwarnings("ignore", "You're using the WeightAveraging callback")
            super().setup(trainer, pl_module, stage)

    def _mean(self, mean: Tensor, weight: Tensor, count: Tensor) -> Tensor:
        """Return the next average of a parameter, after `count` averages before it."""
        # 1 - decay, where decay = min(self.decay, (1 + count) / (10 + count))
        share = (9 / (10 + count)).clamp(min=1 - self.decay)
        return mean.lerp(weight.to(mean.dtype), share.to(mean.dtype))


@contextmanager
def averaged_weights(trainer: pl.Trainer, pl_module: pl.LightningModule) -> Iterator[None]:
    """Swap in the weights that a validation sees: the averages of all WeightAveraging callbacks, the user's included.

    Lightning swaps them in and out by the validation hooks of the callback, which are called here as well.

    Args:
        trainer: Trainer whose callbacks are searched.
        pl_module: module whose parameters are swapped; unchanged without such a callback.

    Yields:
        Nothing; the weights are swapped back at the end.
    """
    averaging = [callback for callback in trainer.callbacks if isinstance(callback, WeightAveraging)]  # type: ignore[attr-defined]
    for callback in averaging:
        callback.on_validation_epoch_start(trainer, pl_module)
    try:
        yield
    finally:
        for callback in reversed(averaging):
            callback.on_validation_epoch_end(trainer, pl_module)
