"""The `fit` family: LightningCLI on the concrete classes of a preset's task; run folders are never overwritten."""

from __future__ import annotations

import errno
import os
import re
import signal
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
import yaml
from jsonargparse import ArgumentParser
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

from helicon.formats.printable import MOST, print_text, printable
from helicon.presets import preset_path
from helicon.tokenizers.names import unknown
from helicon.training.audio_codec import AudioCodecModule
from helicon.training.audio_data import AudioData
from helicon.training.averaging import AverageWeights
from helicon.training.base import Expected
from helicon.training.callbacks import (
    EndWithCheckpoint,
    KeepBundle,
    KeepCheckpoints,
    Progress,
    Samples,
    ValidateInTime,
)
from helicon.training.checkpoints import NAMED, AtomicCheckpointIO, latest_checkpoint, named_checkpoint, read_checkpoint
from helicon.training.codec import CodecModule
from helicon.training.codec_data import CodecData
from helicon.training.data import SequenceData
from helicon.training.epochs import Epochs, Intervals
from helicon.training.errors import TrainingError
from helicon.training.folders import (
    CONFIG,
    NO_ROOM,
    RunFolder,
    check_own_files,
    choose_run,
    named,
    owns,
    read_config,
    write_failure,
)
from helicon.training.fsdp2 import FSDP2
from helicon.training.idle_options import STAGES, idle_option
from helicon.training.lightning_options import DEFAULTS, unknown_precision, unused_option
from helicon.training.loggers import LogSettings, own_loggers
from helicon.training.memory import keep_freed_memory
from helicon.training.metrics import MetricsLogger
from helicon.training.module import GPTModule
from helicon.training.own_classes import import_typed
from helicon.training.own_optimizer import OwnOptimizer
from helicon.training.own_parts import OwnParts, print_profile
from helicon.training.process_state import process_state_kept
from helicon.training.processes import companions, is_first
from helicon.training.raw_data import RawData
from helicon.training.record import read_record
from helicon.training.restoring import Restoring
from helicon.training.stopping import EndCompanions, Interrupted, StopOnSignal
from helicon.training.trust import check_config, check_start
from helicon.training.words import typed_options, without

# task -> the concrete classes that its presets configure, and arguments that follow others
Classes = tuple[type[pl.LightningModule], type[pl.LightningDataModule], dict[str, str]]
TASKS: dict[str, Classes] = {
    "gpt": (
        GPTModule, SequenceData, {"model.context": "data.context", "model.positions": "data.positions"},
    ),
    "codec": (CodecModule, CodecData, {}),
    "audio-codec": (AudioCodecModule, AudioData, {}),
}  # fmt: skip


class HeliconTrainer(pl.Trainer):
    """Lightning's Trainer, which can also build the token cache alone."""

    def prepare(self, model: pl.LightningModule, datamodule: pl.LightningDataModule) -> None:
        """Fits the tokenizers and builds the token cache; says what was found."""
        datamodule.prepare_data()
        print_text(datamodule.prepared.summary(), sys.stderr)  # type: ignore[attr-defined]


UNION = "Does not validate against any of the Union subtypes"
LONGEST = 300  # characters of a complaint of the parser, which repeats what it was given


class UsageError(ValueError):
    """An argument that is not known or not accepted; the message names it and what would be."""


class Parser(LightningArgumentParser):
    """Errors in one line, with the nearest option; no abbreviations."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["allow_abbrev"] = False
        super().__init__(*args, **kwargs)

    def add_class_arguments(self, *args: Any, **kwargs: Any) -> list[str]:  # type: ignore[override]
        """Without settings in files: a word such as `auto` would be opened where a file of that name lies, and run."""
        return super().add_class_arguments(*args, **{**kwargs, "sub_configs": False})

    def error(self, message: str, ex: Exception | None = None) -> Any:
        raise UsageError(explain(message, self)) from ex


def explain(message: str, parser: ArgumentParser) -> str:
    """A parser's complaint in one line, with the nearest option where one is not known."""
    text = " ".join(message.split())
    # Of a class and others, as `--trainer.logger` takes them, what is wrong with the class comes first
    if found := re.search(rf"(.*){UNION} .*?Errors: - (.+?) - ", text):
        text = found[1] + found[2]
    line = printable(text, LONGEST)
    wrong = re.search(r"(?:[Uu]nrecognized arguments: |[Kk]ey )\"?'?(-*[\w.-]+)", line)
    known = re.search(r"[Uu]nrecognized|not expected|is not valid|does not (?:exist|accept)|[Nn]o action", line)
    if wrong and known:
        options = [name for action in parser._actions for name in action.option_strings if name.startswith("--")]
        for sub in _subparsers(parser):
            options += [name for action in sub._actions for name in action.option_strings if name.startswith("--")]
        return unknown("option", wrong[1] if wrong[1].startswith("-") else f"--{wrong[1]}", sorted(set(options)))
    return re.sub(r'^Parser key "?([\w.]+)"?', r"--\1", line)


def _subparsers(parser: ArgumentParser) -> list[ArgumentParser]:
    action = getattr(parser, "_subcommands_action", None)
    return list(action._name_parser_map.values()) if action else []


class HeliconCLI(LightningCLI):
    """`fit`, `validate`, `test`, `prepare` as LightningCLI users know them; adds --name, --runs, --task and so on."""

    task = "gpt"

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--task", type=str, default="gpt", help="which classes are configured; presets say")
        parser.add_argument("--name", type=str | None, default=None, help="folder in --runs; else TASK-N")
        parser.add_argument("--runs", type=str, default="runs", help="folder of all runs")
        parser.add_argument("--codec", type=str | None, default=None, help="preset that `helicon train` trains first")
        parser.add_argument("--next", type=list[str] | None, default=None, help="what `helicon train` goes on with")
        parser.add_argument("--onto", type=str | None, default=None, help="run whose upsampler this is")
        parser.add_argument("--keep", type=Literal["best", "last"], default="best", help="held-out loss, or last step")
        parser.add_argument("--samples", type=bool, default=True, help="whether samples are made as it trains")
        parser.add_argument("--repeat", type=str | None, default=None, help="run whose learning rates are used")
        parser.add_optimizer_args()
        parser.add_lr_scheduler_args()
        for source, target in TASKS[self.task][2].items():
            parser.link_arguments(source, target)

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        known = LightningCLI.subcommands()
        return {name: known[name] for name in ("fit", "validate", "test")} | {"prepare": {"model", "datamodule"}}

    def _chosen(self, name: str) -> Any:
        return self._get(self.config, name)

    def _parse_ckpt_path(self) -> None:
        """Nothing: our checkpoints hold no hyperparameters, and no others are to be opened by Lightning."""

    def before_instantiate_classes(self) -> None:
        """Chooses the run folder: a new one, or that of the checkpoint where --runs and --name say so."""
        config = self.config[str(self.subcommand)]
        if refusal := unused_option(config) or unknown_precision(self.task, config.trainer.precision):
            raise UsageError(refusal)
        if checkpoint := self._checkpoint(config.get("ckpt_path")):
            config.ckpt_path = checkpoint
        self.resuming, self.kept, self.expected = False, None, None
        if checkpoint:
            kind, found = TASKS[self.task][1], read_checkpoint(Path(checkpoint))
            self.kept = found.get(kind.__qualname__)
            if self.kept is None and kind.state_dict is not pl.LightningDataModule.state_dict:
                raise TrainingError(f"{printable(checkpoint)}: keeps nothing of the data, as those of a {self.task} do")
            shapes = {name: tensor.shape for name, tensor in found["state_dict"].items()}
            self.expected = Expected(Path(checkpoint), shapes)
        runs, name = Path(self._chosen("runs")), self._chosen("name")
        if self.subcommand != "fit":  # which writes into no run
            self.run_folder = runs
        elif checkpoint and name and owns(runs / name, Path(checkpoint)):
            self.run_folder, self.resuming = runs / name, True
        else:
            self.run_folder = choose_run(runs, name, self._default_name())

    def _checkpoint(self, named: str | None) -> str | None:
        """The checkpoint that a word stands for: of the run whose config is typed, else of --runs and --name."""
        if named not in NAMED:
            return named
        typed = [Path(str(path)).parent for path in self._chosen("config") or () if Path(str(path)).name == CONFIG]
        name = self._chosen("name")
        runs = [*reversed(typed), *([Path(self._chosen("runs")) / name] if name else [])]
        return str(named_checkpoint(named, runs))

    def instantiate_classes(self) -> None:
        """The data module of a checkpoint keeps what it settled, such as tokenizers; a repeated run gives its clock."""
        try:
            super().instantiate_classes()
        except (ImportError, TypeError, ValueError) as error:  # such as a logger that is not installed
            if isinstance(error, ImportError) or UNION in str(error):
                raise UsageError(explain(str(error), self.parser)) from error
            raise
        self.model.expected = self.expected
        own = (self._chosen(name) for name in ("optimizer", "lr_scheduler"))
        self.model.own = OwnOptimizer(*(value.as_dict() if value else None for value in own))
        if self.subcommand == "fit" and self._chosen("repeat") and not self.resuming:
            self.model.replayed = read_record(Path(self._chosen("repeat")))
        if self.kept:
            try:
                self.datamodule.keep(self.kept)
            except (LookupError, TypeError, AttributeError, ValueError) as error:
                reason = printable(str(error) or type(error).__name__, MOST)
                name = printable(self._chosen("ckpt_path"))
                raise TrainingError(f"{name}: what it keeps of the data is damaged ({reason})") from None

    def _default_name(self) -> str:
        data = self._chosen("data")
        raw = TASKS[self.task][1]
        made = f"{raw.medium}-codec" if issubclass(raw, RawData) else data.layouts[0].split()[-1]
        return re.sub(r"[^\w-]+", "-", made).strip("-") or "run"

    def _check_strategy(self, name: str) -> None:
        """UsageError, before any process is started, for what cannot train this."""
        if name.startswith("fsdp") and name != FSDP2:
            raise UsageError(f"--trainer.strategy {name} takes parameters apart that Muon needs whole; use {FSDP2}")
        if name == FSDP2 and self.task != "gpt":
            raise UsageError(f"--trainer.strategy {FSDP2} shares out the layers of a GPT; for {self.task} there is ddp")
        if name == FSDP2 and self.model.ema:
            raise UsageError(f"--model.ema needs weights that are whole: not with --trainer.strategy {FSDP2}")

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Adds the callbacks of a run, its logger, and checkpoints that are written whole."""
        config = self._get(self.config_init, "trainer")
        self._check_strategy(str(config.get("strategy")))
        text = self._parser(self.subcommand).dump(self.config[str(self.subcommand)], skip_link_targets=False)
        own = OwnParts(_listed(config.get("callbacks")), own_loggers(config.get("logger"), self.run_folder))
        intervals = Intervals.of(config)
        first: list[pl.Callback] = []  # before the user's own
        ours: list[pl.Callback] = [EndCompanions(), LogSettings(text)]
        if self.subcommand == "fit":
            ours += [epochs := Epochs(intervals), Progress(epochs)]
            ours += [AverageWeights(self.model.ema)] if self.model.ema else []
        if self.subcommand == "fit" and not config.get("fast_dev_run"):  # which writes nothing
            keep = KeepCheckpoints(self.run_folder, self.resuming)
            best = KeepBundle(self.run_folder, self._chosen("keep") == "last", self.resuming)
            first = [RunFolder(self.run_folder, text, self.resuming), EndWithCheckpoint(keep)]
            ours += [best]
            ours += [Samples(self.run_folder)] if self._chosen("samples") else []
            ours += [ValidateInTime(intervals.seconds)] if intervals.seconds else []
            ours += [keep, StopOnSignal(keep, best)]
            own.loggers.append(MetricsLogger(self.run_folder))
        config["callbacks"] = [*first, *own.callbacks, *ours]
        kwargs |= {**own.options(config), **intervals.options(config), "logger": own.loggers}
        kwargs["plugins"] = [*_listed(config.get("plugins")), AtomicCheckpointIO()]
        kwargs["default_root_dir"] = config.get("default_root_dir") or str(self.run_folder)
        trainer = super().instantiate_trainer(**kwargs)
        trainer._checkpoint_connector = Restoring(trainer)
        if refusal := unknown_precision(self.task, trainer.precision):  # that a plugin of the config has set
            raise UsageError(refusal)
        return trainer

    def _run_subcommand(self, subcommand: str) -> None:
        """Runs it; what cannot be written is said with what is safe."""
        try:
            super()._run_subcommand(subcommand)
            print_profile(self.trainer)
            if self.trainer.fast_dev_run and is_first():  # type: ignore[attr-defined]
                print_text(f"fast_dev_run: {subcommand} goes through; nothing is written", sys.stderr)
        except OSError as error:
            if subcommand != "fit" or error.errno not in (*NO_ROOM, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO):
                raise
            raise write_failure(error, self.run_folder) from error


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def resolve_configs(args: Sequence[str]) -> list[str]:
    """Arguments with preset names after --config replaced by the packaged files."""
    resolved, take = [], False
    for arg in args:
        if take:
            resolved.append(str(preset_path(arg)))
        elif arg.startswith("--config="):
            resolved.append(f"--config={preset_path(arg.partition('=')[2])}")
        else:
            resolved.append(arg)
        take = arg == "--config"
    return resolved


def run_lightning(command: str, args: Sequence[str], heeded: Collection[str] = ()) -> Path:
    """Runs `fit`, `validate`, `test` or `prepare` with LightningCLI's arguments; gives the run folder.

    heeded: options that do nothing here, but that the caller goes by. The process is left as it was, but for memory
    that glibc keeps. UsageError for arguments that are not accepted; TrainingError for what stops a run.
    """
    check_typed(command, args, heeded)
    keep_freed_memory()
    with process_state_kept(), companions([command, *without(args, STAGES)]):
        torch.set_float32_matmul_precision("high")
        return _cli(HeliconCLI, command, args).run_folder


def read_arguments(command: str, args: Sequence[str]) -> HeliconCLI:
    """Model, data module and trainer as `run_lightning` would have them, without running anything."""
    return _cli(_Unstarted, command, args)


class _Unstarted(HeliconCLI):
    def _run_subcommand(self, subcommand: str) -> None:
        """Leaves it at that."""


def task_of(args: Sequence[str]) -> str:
    """Which classes arguments configure: what --task says, or the first config that says it. UsageError for others."""
    words, task = list(args), None
    for word, following in zip(words, [*words[1:], ""]):
        name, equals, value = word.partition("=")
        value = value if equals else following
        if name == "--task":
            task = value
        elif name == "--config" and task is None:
            task = (yaml.safe_load(Path(value).read_text(encoding="utf-8")) or {}).get("task")
    if task is not None and task not in TASKS:
        raise UsageError(unknown("task", str(task), TASKS))
    return task or "gpt"


def check_typed(command: str, args: Sequence[str], heeded: Collection[str] = ()) -> None:
    """UsageError for an option that a command has no use for, of those that are typed rather than in a config."""
    if heeded and "--trainer.fast_dev_run" in dict(typed_options(args)):
        raise UsageError(
            "--trainer.fast_dev_run would have no effect in train, which ends with a page; use helicon fit"
        )
    if refusal := idle_option(command, task_of(resolve_configs(args)), args, heeded):
        raise UsageError(refusal)


def _cli(kind: type[HeliconCLI], command: str, args: Sequence[str]) -> HeliconCLI:
    args = resolve_configs(args)
    import_typed(args)
    task = task_of(args)
    module, data, _ = TASKS[task]
    return type(kind.__name__, (kind,), {"task": task})(
        module, data, trainer_class=HeliconTrainer, trainer_defaults=DEFAULTS, save_config_callback=None,
        seed_everything_default=False, args=[command, *args], parser_class=Parser,
        auto_configure_optimizers=False,
    )  # fmt: skip


def resume_arguments(run: Path, onto: Path | None = None, typed: Sequence[str] = ()) -> list[str]:
    """Arguments of `fit` that go on with a run from its newest readable checkpoint; says so if that is not the last.

    onto: run that was typed as the one that the upsampler is for. typed: arguments that follow. TrainingError for a
    config that could run code, or asks for more than a run may.
    """
    check_config(run, read_config(run), onto, typed)
    check_own_files(run)
    checkpoint, faults = latest_checkpoint(run)
    for fault in faults:
        print_text(f"{fault}; going on from {checkpoint}", sys.stderr)
    return ["--config", str(run / CONFIG), *named(run), "--ckpt_path", str(checkpoint)]


def repeat_arguments(
    run: Path, runs: Path | None = None, name: str | None = None, typed: Sequence[str] = ()
) -> list[str]:
    """Arguments of `fit` that make a run once more, by its steps rather than its minutes: beside it unless told.

    typed: arguments that follow.
    """
    config = read_config(run)
    check_config(run, config | {"onto": None}, typed=typed)
    check_start(run, config, typed)
    check_own_files(run)
    record = read_record(run)
    if not record.steps:
        raise TrainingError(f"{run}: there is no step yet that could be repeated")
    repeated = choose_run(runs or run.parent, name, f"{Path(os.path.abspath(run)).name}-repeat")
    steps = [f"--trainer.max_steps={record.steps}", "--trainer.max_time=null"]
    # What followed the run is not trained once more, nor put into the place of what it made
    return ["--config", str(run / CONFIG), f"--repeat={run}", *steps, "--next=null", "--onto=null", *named(repeated)]


def exit_status(interrupted: Interrupted) -> int:
    """130 for Ctrl-C, 143 for SIGTERM; 0 of a further process, whose failure would be taken for that of all."""
    return 128 + signal.Signals(interrupted.number).value if is_first() else 0
