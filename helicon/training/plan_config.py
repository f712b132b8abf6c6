"""Parts of a training's config that GPTs and codecs share: places, limits, validation interval; and the machine."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from helicon.training.refusals import explaining_lightning
from helicon.training.settings.request import TrainRequest
from helicon.training.settings.sizes import Machine, validation_seconds
from helicon.training.tasks import TrainConfig

MACHINE_OPTIONS = ("accelerator", "devices", "strategy", "num_nodes")  # of the Trainer: the devices that it runs on


def place_config(request: TrainRequest, run: Path) -> dict[str, Any]:
    """Return the part of a config about files, seed, run folder and next stage.

    Args:
        request: `TrainRequest` of the training.
        run: folder of the run.

    Returns:
        Config (nested dict) with `data.path`, `data.seed`, `name`, `runs` and, where the request has them, the
        manifest, `upsampler_of` and `next`.
    """
    data = {"path": str(request.path), "seed": request.seed}
    data |= {"manifest": str(request.manifest)} if request.manifest else {}
    config: dict[str, Any] = {"name": run.name, "runs": str(request.runs), "data": data}
    config |= {"upsampler_of": str(request.upsampler_of)} if request.upsampler_of else {}
    return config | ({"next": request.next.as_config()} if request.next else {})


def limit_config(request: TrainRequest) -> dict[str, Any]:
    """Return the part of a config with the limits of a `TrainRequest`: `trainer.max_time` and `trainer.max_steps`."""
    return {"trainer": {"max_time": max_time(request.minutes), "max_steps": request.steps or -1}}


def validation_interval(request: TrainRequest, expected: int) -> int | str:
    """Return the interval between validations, a value of Lightning's `val_check_interval`.

    Args:
        request: `TrainRequest` of the training.
        expected: number of optimizer steps in its minutes, about.

    Returns:
        Number of steps (int), a tenth of the request's, where it limits them; else a duration DD:HH:MM:SS (str).
    """
    if request.steps:
        return max(1, request.steps // 10)
    return format_duration(validation_seconds(request.minutes, expected))


def machine_of(config: TrainConfig) -> Machine:
    """Return the `Machine` that the Trainer of a `TrainConfig` runs on, as Lightning detects it."""
    silent: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    with explaining_lightning():
        trainer = pl.Trainer(**{name: config.trainer[name] for name in MACHINE_OPTIONS}, **silent)
    return Machine.of(trainer.strategy.root_device.type, trainer.world_size)


def max_time(minutes: float) -> str:
    """Return minutes as a time limit of Lightning's, DD:HH:MM:SS; a second at least."""
    return format_duration(max(1, round(60 * minutes)))


def format_duration(seconds: int) -> str:
    """Return whole seconds as a string DD:HH:MM:SS, Lightning's format of durations."""
    span = timedelta(seconds=seconds)
    hours, rest = divmod(span.seconds, 3600)
    return f"{span.days:02d}:{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"
