"""The user's loggers, `--trainer.logger`, beside metrics.csv."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml
from pytorch_lightning.loggers import Logger, TensorBoardLogger


def user_loggers(asked: Logger | Iterable[Logger] | bool | None, run: Path) -> list[Logger]:
    """Return the loggers that `--trainer.logger` asks for.

    Args:
        asked: value of the option, classes instantiated; True means TensorBoard, as in Lightning, writing into `run`.
        run: folder of the run.

    Returns:
        List of loggers, to stand before the run's metrics.csv in the trainer: callbacks write pictures and sounds to
        `trainer.logger`, which is the first one.

    Raises:
        ModuleNotFoundError: TensorBoard is not installed.
    """
    if asked is True:
        return [TensorBoardLogger(str(run), name=None, version="tensorboard")]
    return list(asked) if isinstance(asked, Iterable) else [asked] if isinstance(asked, Logger) else []


class LogSettings(pl.Callback):
    """Callback that logs all settings of the run as hyperparameters.

    Args:
        config: text of the run's config.yaml.
    """

    def __init__(self, config: str) -> None:
        self.settings: dict[str, Any] = yaml.safe_load(config)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.enable_autolog_hparams:
            for logger in trainer.loggers:
                logger.log_hyperparams(self.settings)
