"""Tasks: name of a training -> its config, module and data module classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import pytorch_lightning as pl
from jsonargparse import Namespace

from helicon.data.config import AudioDataConfig, DataConfig, ImageDataConfig, sequence_data_config
from helicon.objectives.base import Objective
from helicon.objectives.registry import OBJECTIVES, configured
from helicon.presets import GROUPS
from helicon.training.codecs.audio_codec import AudioCodecModule
from helicon.training.codecs.audio_data import AudioData
from helicon.training.codecs.codec import ImageCodecModule
from helicon.training.codecs.codec_data import ImageData
from helicon.training.learning import fsdp2  # noqa: F401  whose strategy Lightning then knows by name
from helicon.training.learning.base import RunModule
from helicon.training.learning.data import SequenceData
from helicon.training.learning.module import GPTModule
from helicon.training.settings.config import (
    AudioCodecModelConfig,
    ImageCodecModelConfig,
    OptimizerConfig,
    RunConfig,
    model_config,
    part_of,
)


@dataclass(frozen=True, kw_only=True)
class Task:
    """Classes of one kind of training.

    Args:
        model: returns the config class of the group `model`, network and optimizer.
        data: returns the config class of the group `data`, which depends on the registered media.
        module: makes the Lightning module from a config of `model`.
        datamodule: makes the data module from configs of `data` and `model`.
        data_class: class of the data module.
    """

    model: Callable[[], type[OptimizerConfig]]
    data: Callable[[], type[DataConfig]]
    module: Callable[[Any], RunModule]
    datamodule: Callable[[Any, Any], pl.LightningDataModule]
    data_class: type[pl.LightningDataModule]


CODECS = {
    "codec": Task(
        model=lambda: ImageCodecModelConfig, data=lambda: ImageDataConfig, module=ImageCodecModule,
        datamodule=lambda data, model: ImageData(data), data_class=ImageData,
    ),
    "audio-codec": Task(
        model=lambda: AudioCodecModelConfig, data=lambda: AudioDataConfig, module=AudioCodecModule,
        datamodule=lambda data, model: AudioData(data), data_class=AudioData,
    ),
}  # fmt: skip


def tasks() -> dict[str, Task]:
    """Return name -> `Task`: the objectives of a GPT, and the codecs."""
    return {**{name: _of_objective(kind) for name, kind in OBJECTIVES.items().items()}, **CODECS}


def _of_objective(kind: type[Objective]) -> Task:
    return Task(
        model=lambda: model_config(kind), data=sequence_data_config, data_class=SequenceData,
        module=lambda config: GPTModule(config, configured(kind, part_of(kind, config))),
        datamodule=lambda data, model: SequenceData(data, model.context, model.positions, kind.examples),
    )  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    """Parsed configuration of one training.

    Args:
        values: of all options, from the task's parser.
    """

    values: Namespace

    @property
    def task(self) -> Task:
        """`Task`, the classes of the training."""
        return tasks()[self.values.task]

    @property
    def run(self) -> RunConfig:
        """`RunConfig`, the options of the run."""
        return RunConfig(**{option.name: self.values[option.name] for option in fields(RunConfig)})

    @property
    def model(self) -> Any:
        """`OptimizerConfig` of network and optimizer, of the task's class."""
        return self.task.model()(**self.values.model.as_dict())

    @property
    def data(self) -> Any:
        """`DataConfig` of files and batches, of the task's class."""
        return self.task.data()(**self.values.data.as_dict())

    @property
    def trainer(self) -> Mapping[str, Any]:
        """Arguments of Lightning's Trainer, name -> value."""
        return self.values.trainer.as_dict()

    def changed(self, config: Mapping[str, Any]) -> TrainConfig:
        """Return a copy with the values of a nested dict, of a packaged preset or of code, which are not parsed."""
        values = self.values.clone()
        for name, value in config.items():
            for option, setting in value.items() if name in GROUPS else [("", value)]:
                values[f"{name}.{option}".removesuffix(".")] = setting
        return TrainConfig(values)

    def make_module(self) -> Any:
        """Return the Lightning module, a `RunModule`; its network is built once the data are there."""
        return self.task.module(self.model)

    def make_data(self) -> Any:
        """Return the Lightning data module of the task, not prepared."""
        return self.task.datamodule(self.data, self.model)
