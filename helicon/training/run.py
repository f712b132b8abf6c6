"""Runner of `fit`, `validate`, `test` and `prepare`: LightningCLI on the config classes of a task."""

from __future__ import annotations

import errno
import inspect
import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from jsonargparse import Namespace
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

from helicon.formats.printable import MAX_QUOTED, printable
from helicon.formats.progress import log
from helicon.plugins.loading import require
from helicon.presets import Config
from helicon.training.changes import RecordChanges, check_unchanged
from helicon.training.codecs.raw_data import RawData
from helicon.training.errors import TrainingError
from helicon.training.learning.averaging import AverageWeights
from helicon.training.learning.base import ExpectedWeights
from helicon.training.learning.epochs import EpochsToSteps, Intervals
from helicon.training.learning.following import FollowStream
from helicon.training.learning.keeping import EndWithCheckpoint, KeepBundle, KeepCheckpoints
from helicon.training.learning.restoring import CheckingConnector
from helicon.training.learning.showing import Progress, SampleWriter
from helicon.training.learning.user_optimizer import UserOptimizer
from helicon.training.learning.validating import ValidateInTime
from helicon.training.memory import keep_freed_memory
from helicon.training.options import check_options, check_task_name, check_typed, task_of
from helicon.training.parser import UNION_ERROR, make_parser, usage_error
from helicon.training.process_state import process_state_kept
from helicon.training.processes import is_first, launching_ranks
from helicon.training.refusals import explaining_lightning
from helicon.training.runs.checkpoints import CHECKPOINT_WORDS, AtomicCheckpointIO, named_checkpoint, read_checkpoint
from helicon.training.runs.folders import (
    CONFIG,
    DISK_FULL,
    RunFolder,
    choose_run,
    owns_checkpoint,
    run_text,
    write_failure,
)
from helicon.training.runs.loggers import LogSettings, user_loggers
from helicon.training.runs.metrics import MetricsLogger
from helicon.training.runs.record import read_record
from helicon.training.settings.idle_options import settled_option
from helicon.training.settings.lightning_options import unknown_precision
from helicon.training.settings.places import BEGUN_IN, way_back
from helicon.training.settings.user_classes import import_typed, user_class_options
from helicon.training.settings.words import resolve_configs, typed_options
from helicon.training.stopping import StopOnSignal, StopSiblingRanks
from helicon.training.tasks import TrainConfig, tasks
from helicon.training.trainer import HeliconTrainer
from helicon.training.usage_errors import UsageError, locating_options
from helicon.training.user_parts import PrintProfile, UserParts


class HeliconCLI(LightningCLI):
    """LightningCLI of a task with the options of a run; the folder of another run is never overwritten.

    Args:
        command: `fit`, `validate`, `test` or `prepare`.
        args: words of a command line, a config (nested dict), or a `TrainConfig`.
        data: data module; None to make that of the config.
        callbacks: of Lightning, beside those of the config.
    """

    config: Namespace

    def __init__(
        self, command: str, args: Sequence[str] | Config | TrainConfig, data: Any = None,
        callbacks: Sequence[pl.Callback] = (),
    ) -> None:  # fmt: skip
        self.command, self.datamodule, self.callbacks = command, data, callbacks
        self.typed = [] if isinstance(args, (Mapping, TrainConfig)) else [*typed_options(args)]
        arguments: Any = args
        if isinstance(args, TrainConfig):
            self.task, arguments = args.values.task, args.values.clone()
        elif isinstance(args, Mapping):
            self.task = check_task_name(args.get("task"))
        else:
            self.task = task_of(args)
        task = tasks()[self.task]
        super().__init__(
            task.module, task.data_class, trainer_class=HeliconTrainer, save_config_callback=None, args=arguments,
            run=False, auto_configure_optimizers=False, load_from_checkpoint_support=False,
        )  # fmt: skip

    def setup_parser(self, *args: Any, **kwargs: Any) -> None:
        """Set the cached parser of task and command, with which a TrainConfig was parsed."""
        self.parser = make_parser(self.task, self.command)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Set the config from parsed values, a mapping or words.

        Args:
            parser: `LightningArgumentParser` of the command.
            args: Namespace of parsed values, mapping, or words of a command line.
        """
        if isinstance(args, Namespace):
            self.config = args
        elif isinstance(args, Mapping):
            self.config = parser.parse_object(deepcopy(dict(args)))
        else:
            self.config = parser.parse_args(resolve_configs(args))

    def chosen(self, name: str) -> Any:
        """Return the value of an option by its dotted name; None where the command has no such option."""
        return self.config.get(name)

    def before_instantiate_classes(self) -> None:
        """Choose the run folder: a new one, or that of the checkpoint if --runs and --name name it."""
        check_options(self.task, self.config)
        self.config.plugins = [str(plugin) for plugin in dict.fromkeys(require(self.config.plugins))]
        if checkpoint := self._checkpoint(self.chosen("ckpt_path")):
            self.config.ckpt_path = checkpoint
        self.checkpoint = Path(checkpoint) if checkpoint else None
        names = [name.removeprefix("--") for name, value in self.typed if value != "null"]
        if checkpoint and (settled := settled_option(self.command, self.task, names)):
            kept = f"--ckpt_path {printable(checkpoint)} goes on with its own"
            raise UsageError(f"--{settled} would have no effect: {kept}")
        runs, name = Path(self.chosen("runs")), self.chosen("name")
        self.resuming = bool(self.checkpoint and name and owns_checkpoint(runs / name, self.checkpoint))
        if self.command != "fit":  # the other commands write into no run
            self.run_folder = runs
        elif self.resuming:
            self.run_folder = runs / name
        else:
            self.run_folder = choose_run(runs, name, self._default_name())

    def _checkpoint(self, named: str | None) -> str | None:
        """Resolve `last` and `best`: in the run whose config is typed, else in that of --runs and --name."""
        if named not in CHECKPOINT_WORDS:
            return named
        configs = [Path(value) for name, value in self.typed if name == "--config"]
        typed = [config.parent for config in configs if config.name == CONFIG]
        name = self.chosen("name")
        runs = [*reversed(typed), *([Path(self.chosen("runs")) / name] if name else [])]
        return str(named_checkpoint(named, runs))

    def instantiate_classes(self) -> None:
        """Make module, data module and trainer; restore data from a checkpoint, and the record of a repeated run."""
        try:
            self.config_init = self.parser.instantiate(self.config)
        except (ImportError, TypeError, ValueError) as error:  # such as a logger that is not installed
            if isinstance(error, ImportError) or UNION_ERROR in str(error):
                raise usage_error(str(error), self.parser) from error
            raise
        task, data, model = tasks()[self.task], self.config_init.data, self.config_init.model
        self.datamodule: Any = self.datamodule or task.datamodule(data, model)
        self.model: Any = task.module(model)
        classes = (self.chosen(name) for name in ("optimizer", "lr_scheduler"))
        self.model.user_optimizer = UserOptimizer(*(value.as_dict() if value else None for value in classes))
        if self.checkpoint:
            self.model.expected = keep_of_checkpoint(self.checkpoint, self.datamodule)
        if self.command == "fit" and self.chosen("repeat") and not self.resuming:
            check_unchanged(Path(self.chosen("repeat")))
            self.model.replayed = read_record(Path(self.chosen("repeat")))
        with explaining_lightning():
            self.trainer = self.instantiate_trainer()

    def _dumped(self) -> str:
        """Return the config in JSON."""
        return self.parser.dump(self.config, format="json", skip_unset=False)

    def _record(self, settings: Config) -> str:
        """Return the text of the run's config.yaml, with the plugins of the module, known once the data are there."""
        plugins = dict.fromkeys([*settings["plugins"], *map(str, self.model.plugins())])
        return run_text({**settings, "plugins": list(plugins), BEGUN_IN: way_back(self.run_folder)})

    def _default_name(self) -> str:
        raw = tasks()[self.task].data_class
        layouts = self.chosen("data").get("layouts") or ["run"]
        name = f"{raw.medium}-codec" if issubclass(raw, RawData) else layouts[0].split()[-1]
        return re.sub(r"[^\w-]+", "-", name).strip("-") or "run"

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Make the trainer with a run's callbacks, its metrics.csv and atomic checkpoints.

        Args:
            **kwargs: arguments of the Trainer, in place of the config's.
        """
        config = self.config_init.trainer
        settings = json.loads(self._dumped())
        text = run_text(settings)
        callbacks = [*_listed(config.get("callbacks")), *self.callbacks]
        user = UserParts(callbacks, user_loggers(config.get("logger"), self.run_folder))
        intervals = Intervals.of(config)
        first: list[pl.Callback] = []  # before the user's callbacks
        ours: list[pl.Callback] = [StopSiblingRanks(), LogSettings(text), PrintProfile()]
        if self.command == "fit":
            ours += [epochs := EpochsToSteps(intervals), Progress(epochs)]
            ours += [AverageWeights(self.model.ema)] if self.model.ema else []
        if self.command == "fit" and not config.get("fast_dev_run"):  # a fast_dev_run writes nothing
            keep = KeepCheckpoints(self.run_folder, self.resuming)
            best = KeepBundle(self.run_folder, self.chosen("weights") == "last", self.resuming)
            first = [
                RunFolder(self.run_folder, partial(self._record, settings), self.resuming),
                EndWithCheckpoint(keep),
            ]
            ours += [best, *([RecordChanges(self.run_folder, text)] if self.resuming else [])]
            ours += [SampleWriter(self.run_folder)] if self.chosen("samples") else []
            ours += [ValidateInTime(intervals.seconds)] if intervals.seconds else []
            ours += [keep, StopOnSignal(keep, best)]
            ours += [FollowStream(keep)] if self.chosen("data").get("stream") else []
            user.loggers.append(MetricsLogger(self.run_folder))
        config["callbacks"] = [*first, *user.callbacks, *ours]
        kwargs |= {**user.options(config), **intervals.options(config), "logger": user.loggers}
        kwargs["plugins"] = [*_listed(config.get("plugins")), AtomicCheckpointIO()]
        kwargs["default_root_dir"] = config.get("default_root_dir") or str(self.run_folder)
        trainer = super().instantiate_trainer(**kwargs)
        if self.callbacks and trainer.world_size > 1:
            raise UsageError("callbacks: other processes do not have these objects; --trainer.callbacks names a class")
        trainer._checkpoint_connector = CheckingConnector(trainer)
        if refusal := unknown_precision(self.task, trainer.precision):  # set by a plugin of the config
            raise UsageError(refusal)
        return trainer

    def run(self) -> None:
        """Run the command.

        Raises:
            TrainingError: a file cannot be written; the message says what is safe.
        """
        command, config, method = self.command, self._dumped(), getattr(self.trainer, self.command)
        typed = {name: self.config[name] for name in inspect.signature(method).parameters if name in self.config}
        try:
            with launching_ranks([command, f"--config={config}", *user_class_options(json.loads(config))]):
                with explaining_lightning():
                    method(**{**typed, "model": self.model, "datamodule": self.datamodule})
                if self.trainer.fast_dev_run and is_first():  # type: ignore[attr-defined]
                    log(f"fast_dev_run: {command} goes through; nothing is written")
        except OSError as error:
            if command != "fit" or error.errno not in (*DISK_FULL, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO):
                raise
            raise write_failure(error, self.run_folder) from error


def keep_of_checkpoint(checkpoint: Path, data: Any) -> ExpectedWeights:
    """Restore the state of a data module, such as its tokenizers, from a checkpoint.

    Args:
        checkpoint: path of the file, which may be somebody else's.
        data: data module; its state is changed.

    Returns:
        `ExpectedWeights`: names and shapes of the checkpoint's weights, which the module has to match.

    Raises:
        TrainingError: the checkpoint is damaged, or has no state of such a data module.
    """
    content, kind = read_checkpoint(checkpoint), type(data)
    kept = content.get(kind.__qualname__)
    if kept is None and kind.state_dict is not pl.LightningDataModule.state_dict:
        raise TrainingError(f"{printable(checkpoint)}: no state of the data, which this task needs")
    if kept:
        try:
            data.restore(kept)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            reason = printable(str(error) or type(error).__name__, MAX_QUOTED)
            raise TrainingError(f"{printable(checkpoint)}: what it keeps of the data is damaged ({reason})") from None
    return ExpectedWeights(checkpoint, {name: tensor.shape for name, tensor in content["state_dict"].items()})


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def run_lightning(
    command: str, args: Sequence[str] | Config | TrainConfig, data: Any = None, callbacks: Sequence[pl.Callback] = ()
) -> HeliconCLI:  # fmt: skip
    """Run `fit`, `validate`, `test` or `prepare`; process-wide state is restored, but for malloc's settings.

    Args:
        command: `fit`, `validate`, `test` or `prepare`.
        args: words of a command line, a config (nested dict), or a `TrainConfig`.
        data: data module; None to make that of the config.
        callbacks: of Lightning, beside those of the config.

    Returns:
        The `HeliconCLI` after its run, with `run_folder`, `model`, `datamodule` and `trainer`.

    Raises:
        UsageError: an argument is not accepted.
        TrainingError: the run cannot go on.
    """
    words: Sequence[str] = () if isinstance(args, (Mapping, TrainConfig)) else args
    keep_freed_memory()
    with process_state_kept(), locating_options(words=words):
        import_typed(words)
        check_typed(command, words)
        torch.set_float32_matmul_precision("high")  # TF32 on GPUs, as trainings do not need float32's last bits
        cli = HeliconCLI(command, args, data, callbacks)
        cli.run()
    return cli
