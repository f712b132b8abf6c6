"""Record of options that changed when a run was resumed: its config alone would no longer repeat it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml

from helicon.formats.files import read_regular
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.plugins.plugin import Plugin
from helicon.presets import GROUPS
from helicon.training.errors import TrainingError
from helicon.training.plan_config import MACHINE_OPTIONS
from helicon.training.runs.folders import CONFIG, read_config

FILE = "changes.txt"  # in the folder of a run
MAX_BYTES = 1 << 16  # of it that are read: its first line is shown
# Options by which a repetition may differ: machine and places
PLACE_OPTIONS = (
    *(f"trainer.{name}" for name in MACHINE_OPTIONS),
    "data.path",
    "data.cache",
    "data.workers",
    "ckpt_path",
)
# Changes that are not recorded: they do not affect the steps, or have a record of their own
IGNORED_OPTIONS = (*PLACE_OPTIONS, "trainer.max_steps", "trainer.max_time", "samples", "next", "upsampler_of", "repeat")


class RecordChanges(pl.Callback):
    """Callback of a resumed run that records options which differ from its config, and the step from which they do.

    Args:
        run: folder of the run.
        config: text of the config that it is resumed with.
    """

    def __init__(self, run: Path, config: str) -> None:
        self.run, self.config = run, config

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero or not (self.run / CONFIG).exists():
            return
        before, now = _settings(read_config(self.run)), _settings(yaml.safe_load(self.config))
        names = sorted(
            name for name in before | now if before.get(name) != now.get(name) and name not in IGNORED_OPTIONS
        )
        if names:
            with (self.run / FILE).open("a", encoding="utf-8") as file:
                file.write(f"{', '.join(names)} from step {trainer.global_step} on\n")


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a config by dotted name; plugins by their content, wherever their files lie."""
    groups = {f"{group}.{name}": value for group in GROUPS for name, value in (config.get(group) or {}).items()}
    plugins = {"plugins": [Plugin.parse(text).stamp for text in config.get("plugins") or []]}
    return groups | {name: value for name, value in config.items() if name not in GROUPS} | plugins


def check_unchanged(run: Path) -> None:
    """Validate that the run in a folder was never resumed with other options than those of its config.

    Raises:
        TrainingError: the run has a record of changes.
    """
    path = run / FILE
    try:
        line = read_regular(path, MAX_BYTES, links=False).decode("utf-8", "replace").partition("\n")[0]
    except FileNotFoundError:
        return
    except OSError as error:
        raise TrainingError(f"{printable(path)}: {error.strerror}") from None
    change = printable(line, MAX_QUOTED)
    raise TrainingError(f"{printable(path)}: gone on with a change of {change}, so its config would make another run")
