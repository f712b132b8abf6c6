"""An optimizer and a schedule of the user's own, `--optimizer` and `--lr_scheduler`, as LightningCLI has them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.cli import ReduceLROnPlateau, instantiate_class
from torch import Tensor
from torch.optim import Optimizer

from helicon.training.errors import TrainingError
from helicon.training.learning.epochs import NEVER


@dataclass(frozen=True)
class OwnOptimizer:
    """Classes and their arguments, `{class_path, init_args}`; ours where there is none.

    LightningCLI makes both as it starts. Here the parameters are not there before the data have said what the
    vocabulary is.
    """

    optimizer: dict[str, Any] | None = None
    scheduler: dict[str, Any] | None = None

    @property
    def on_plateau(self) -> bool:
        """Whether the rate goes by what is found in validations."""
        return self.scheduler is not None and self.scheduler["class_path"].endswith("ReduceLROnPlateau")

    def make_optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        """The optimizer of all parameters alike, as LightningCLI makes it. TrainingError for what it refuses."""
        assert self.optimizer is not None
        return _made("--optimizer", list(parameters), self.optimizer)

    def make_schedule(self, optimizer: Optimizer, trainer: pl.Trainer) -> dict[str, Any]:
        """Lightning's settings of the schedule: it moves at every step, or on a plateau after every validation."""
        assert self.scheduler is not None
        scheduler = _made("--lr_scheduler", optimizer, self.scheduler)
        if not isinstance(scheduler, ReduceLROnPlateau):
            return {"scheduler": scheduler, "interval": "step"}
        if not isinstance(trainer.val_check_interval, int) or trainer.val_check_interval >= NEVER:
            raise TrainingError(
                "--lr_scheduler ReduceLROnPlateau goes by validations: let --trainer.val_check_interval be a number"
            )
        every = {"interval": "step", "frequency": trainer.val_check_interval, "strict": False}
        return {"scheduler": scheduler, "monitor": scheduler.monitor, **every}


def _made(option: str, first: Any, init: dict[str, Any]) -> Any:
    try:
        return instantiate_class(first, init)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TrainingError(f"{option} {init['class_path']}: {error}") from error
