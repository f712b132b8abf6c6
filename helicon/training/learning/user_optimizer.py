"""Optimizer and learning-rate schedule of the user: `--optimizer` and `--lr_scheduler`, as in LightningCLI."""

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
class UserOptimizer:
    """Classes of the user's optimizer and scheduler, with their arguments.

    LightningCLI makes both at its start; here the parameters exist only after the data module knows the vocabulary.

    Args:
        optimizer: {class_path, init_args}; None for Helicon's.
        scheduler: the same; None for Helicon's.
    """

    optimizer: dict[str, Any] | None = None
    scheduler: dict[str, Any] | None = None

    @property
    def on_plateau(self) -> bool:
        """True if the learning rate follows validations (ReduceLROnPlateau)."""
        return self.scheduler is not None and self.scheduler["class_path"].endswith("ReduceLROnPlateau")

    def make_optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        """Make the optimizer of these parameters, all in one group, as LightningCLI does.

        Raises:
            TrainingError: the class does not accept its arguments.
        """
        assert self.optimizer is not None
        return _instantiate("--optimizer", list(parameters), self.optimizer)

    def make_schedule(self, optimizer: Optimizer, trainer: pl.Trainer) -> dict[str, Any]:
        """Make the scheduler, stepped after every optimizer step, or after every validation (ReduceLROnPlateau).

        Args:
            optimizer: `Optimizer` whose learning rates it sets.
            trainer: says how many batches are between validations.

        Returns:
            Lightning's `lr_scheduler` dictionary: scheduler, interval and, for ReduceLROnPlateau, frequency and
            monitor.

        Raises:
            TrainingError: the class does not accept its arguments, or validations are not counted in batches.
        """
        assert self.scheduler is not None
        scheduler = _instantiate("--lr_scheduler", optimizer, self.scheduler)
        if not isinstance(scheduler, ReduceLROnPlateau):
            return {"scheduler": scheduler, "interval": "step"}
        if not isinstance(trainer.val_check_interval, int) or trainer.val_check_interval >= NEVER:
            raise TrainingError(
                "--lr_scheduler ReduceLROnPlateau goes by validations: let --trainer.val_check_interval be a number"
            )
        every = {"interval": "step", "frequency": trainer.val_check_interval, "strict": False}
        return {"scheduler": scheduler, "monitor": scheduler.monitor, **every}


def _instantiate(option: str, first: Any, init: dict[str, Any]) -> Any:
    """Instantiate a class of an option with a first argument; TrainingError says why it refuses."""
    try:
        return instantiate_class(first, init)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TrainingError(f"{option} {init['class_path']}: {error}") from error
