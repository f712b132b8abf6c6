"""Loggers of the user's own, `--trainer.logger`: beside metrics.csv, told of the run's settings as well."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml
from pytorch_lightning.loggers import Logger, TensorBoardLogger


def own_loggers(asked: Logger | Iterable[Logger] | bool | None, run: Path) -> list[Logger]:
    """Loggers that were asked for.

    Args:
        asked: `--trainer.logger`, its classes instantiated; true means TensorBoard, as Lightning has it, in RUN.
        run: folder of the run.

    Returns:
        They come before the run's own metrics.csv: `trainer.logger`, which callbacks write pictures and sounds to, is
        the first of them.

    Raises:
        ModuleNotFoundError: for TensorBoard, which names the package.
    """
    if asked is True:
        return [TensorBoardLogger(str(run), name=None, version="tensorboard")]
    return list(asked) if isinstance(asked, Iterable) else [asked] if isinstance(asked, Logger) else []


class LogSettings(pl.Callback):
    """Tells the user's own loggers all settings of the run, as its config.yaml has them."""

    def __init__(self, config: str) -> None:
        self.settings: dict[str, Any] = yaml.safe_load(config)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.enable_autolog_hparams:
            for logger in trainer.loggers:
                logger.log_hyperparams(self.settings)
