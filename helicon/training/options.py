"""Options of a training: the parser of `fit` for each task, its error messages, and configs merged from many sources.

A config is a nested dict as in a YAML file: options of the run, and the groups `model`, `data` and `trainer`. Presets,
choices of `helicon train` and typed options are such dicts. Later ones win, and a parser checks the merged config.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ActionConfigFile, Namespace  # type: ignore[attr-defined]
from pytorch_lightning.cli import LightningArgumentParser

from helicon.cli.errors import CommandError
from helicon.data.config import DataConfig
from helicon.data.entries import DataError
from helicon.formats.nearest import unknown
from helicon.formats.printable import print_text, printable
from helicon.plugins.loading import require
from helicon.presets import Config, chosen, config_path, merge, preset, preset_path
from helicon.training.runs.folders import check_format
from helicon.training.settings.config import OptimizerConfig, RunConfig
from helicon.training.settings.idle_options import idle_option
from helicon.training.settings.lightning_options import (
    DEFAULTS,
    invalid_number,
    unknown_precision,
    unknown_strategy,
    unused_option,
)
from helicon.training.settings.user_classes import import_typed
from helicon.training.settings.words import configs_of, resolve_configs, typed_names, typed_options
from helicon.training.tasks import TrainConfig, tasks
from helicon.training.trainer import HeliconTrainer

UNION_ERROR = "Does not validate against any of the Union subtypes"  # part of a message of jsonargparse
# Parameters of the Trainer's methods that are objects, and no options
RUNTIME_PARAMETERS = {"model", "datamodule", "dataloaders", "train_dataloaders", "val_dataloaders"}
# Options whose values are mappings -> accepted value, for error messages
MAPPING_EXAMPLES = {
    "data.changes": "{crop: [0.9, 1], flip: 0.5}",
    "data.tokenizers": "{text: bytes}",
    "model.slot_weights": "{text: 0.5}",
}
MAX_MESSAGE = 300  # characters of a parser's message, which repeats the value


class UsageError(CommandError, ValueError):
    """Error of an argument that is unknown or not accepted; the message names it and what is accepted.

    Args:
        message: one line.
        option: dotted name of the option, such as `model.lr`; None for other arguments.
    """

    def __init__(self, message: str, option: str | None = None) -> None:
        super().__init__(message)
        self.option = option


class TrainingParser(LightningArgumentParser):
    """Parser whose errors are one line and name the nearest option; abbreviations are not accepted.

    Args:
        task: name of the task whose options it has.
        command: `fit`, `validate`, `test` or `prepare`.
    """

    def __init__(self, *args: Any, task: str = "gpt", command: str = "fit", **kwargs: Any) -> None:
        kwargs["allow_abbrev"] = False
        super().__init__(*args, **kwargs)
        self.task, self.command = task, command

    @property
    def options(self) -> set[str]:
        """Option strings, such as `--model.lr`."""
        return {name for action in self._actions for name in action.option_strings if name.startswith("--")}

    def add_class_arguments(self, *args: Any, **kwargs: Any) -> list[str]:  # type: ignore[override]
        """Add a class without sub-config files: a value `auto` would be read from a file of that name."""
        return super().add_class_arguments(*args, **{**kwargs, "sub_configs": False})

    def error(self, message: str, ex: Exception | None = None) -> Any:
        raise usage_error(message, self) from ex

    def _print_message(self, message: str, file: Any = None) -> None:
        print_text(message.rstrip("\n"), file)


def usage_error(message: str, parser: TrainingParser) -> UsageError:
    """Turn a parser's message into one line, which for an unknown option names its tasks or the nearest option.

    Args:
        message: of jsonargparse.
        parser: that reports it.

    Returns:
        The error to raise.
    """
    text = " ".join(message.split())
    # For a union with a class, such as the type of `--trainer.logger`, keep the first error, which is that of the class
    if nested := re.search(rf"(.*){UNION_ERROR} .*?Errors: - (.+?) - ", text):
        text = nested[1] + nested[2]
    line = printable(text, MAX_MESSAGE)
    # jsonargparse names the merged config, which nobody typed
    line = re.sub(r'^(?:Parser key "?config"?:|--config:) (?=--)', "", line)
    line = re.sub(r"^Group '(\w+)' does not accept option '([\w.-]+)'", r"unrecognized arguments: \1.\2", line)
    line = re.sub(r"^Option '([\w.-]+)'.*", r"unrecognized arguments: \1", line)
    wrong = re.search(r"(?:[Uu]nrecognized arguments: |[Kk]ey )\"?'?(-*[\w.-]+)|^--([\w.]+): ", line)
    unrecognized = re.search(r"[Uu]nrecognized|not expected|is not valid|does not (?:exist|accept)|[Nn]o action", line)
    option = (wrong[1] or wrong[2]).lstrip("-") if wrong else None
    if option and unrecognized:
        others = [task for task in tasks() if task != parser.task and _has(task, parser.command, option)]
        if others:
            return UsageError(f"--{option} is an option of {' and '.join(others)}; this trains {parser.task}", option)
        return UsageError(unknown("option", f"--{option}", _similar_options(option, parser)), option)
    for name, example in MAPPING_EXAMPLES.items():
        if option and f"{option}.".startswith(f"{name}."):
            return UsageError(f"--{name}: names and their values are accepted, such as {example}", name)
    return UsageError(re.sub(r'^Parser key "?([\w.]+)"?', r"--\1", line), option)


def _similar_options(option: str, parser: TrainingParser) -> list[str]:
    """Return the options that end with an unknown name, as `--model.lr` with `lr`; all options where none does."""
    names = sorted(parser.options)
    return [name for name in names if re.search(rf"[._]{re.escape(option)}$", name)] or names


def check_names(words: Sequence[str]) -> None:
    """Validate that some task has each option of a command line.

    Raises:
        UsageError: an unknown option; it may have taken the next word for its value.
    """
    for name in typed_names(words):
        if not any(_has(task, "fit", name) for task in tasks()):
            raise usage_error(f"unrecognized arguments: --{name}", make_parser("gpt"))


def _has(task: str, command: str, option: str) -> bool:
    return f"--{option}" in make_parser(task, command).options


@contextmanager
def locating_options(*configs: str | Path, words: Sequence[str] = ()) -> Iterator[None]:
    """Add file and line of a refused option to a UsageError or DataError raised within, unless the option was typed.

    Args:
        configs: files and presets whose options are used.
        words: of the command line, which can name further configs.

    Raises:
        UsageError: the error with file and line, in place of the original.
    """
    try:
        yield
    except (UsageError, DataError) as error:
        match = re.match(r"--([\w.]+)", str(error))
        option = error.option if isinstance(error, UsageError) else match and match[1]
        files = [*map(str, configs), *configs_of(words)]
        typed = dict(typed_options(words)).get(f"--{option}")
        if not option or (typed is not None and not _concerns_config(str(error), typed)):
            raise
        if places := [place for name in files if (place := _find_option(option, name))]:
            raise UsageError(f"{error} ({places[-1]})") from error  # a later config overrides earlier ones
        raise


def _concerns_config(message: str, typed: str) -> bool:
    """Return whether a message refuses another value than the typed one, which then is that of a config."""
    refused = re.search(r"Got value: (.+)", message)
    if refused is None or refused[1] == typed:
        return False
    try:
        return float(refused[1]) != float(typed)  # messages print the parsed number, such as 10.0 for 1e1
    except ValueError:
        return True


def _find_option(option: str, config: str) -> str | None:
    """Return file and line, in words, where a preset or YAML file sets an option; None where it does not."""
    if not (path := config_path(config)).is_file():
        return None
    node, line = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader), 0
    for name in option.split("."):
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        entries = [(key, value) for key, value in pairs if key.value.rstrip("+") == name]
        if not entries:
            return None
        line, node = entries[0][0].start_mark.line + 1, entries[0][1]
    return f"{printable(path)}, line {line}"


def make_parser(task: str, command: str = "fit") -> TrainingParser:
    """Return the parser of a command: the flat groups `model`, `data` and `trainer`, and the options of a run.

    Args:
        task: name of the task whose config classes make the groups.
        command: `fit`, `validate`, `test` or `prepare`.

    Returns:
        Parser, cached.
    """
    classes = tasks()[task]
    return _make_parser(task, command, classes.model(), classes.data())


@cache
def _make_parser(task: str, command: str, model: type[OptimizerConfig], data: type[DataConfig]) -> TrainingParser:
    method = getattr(HeliconTrainer, command)
    parser = TrainingParser(
        task=task,
        command=command,
        prog=f"helicon {command}",
        description=(inspect.getdoc(method) or "").partition("\n")[0],
    )
    parser.add_argument("-c", "--config", action=ActionConfigFile, help="preset, or file in YAML")
    parser.add_argument("--seed_everything", type=bool | int, default=False)
    parser.add_lightning_class_args(HeliconTrainer, "trainer")
    parser.set_defaults({f"trainer.{name}": value for name, value in DEFAULTS.items()})
    parser.add_class_arguments(model, "model")
    parser.add_class_arguments(data, "data")
    parser.add_class_arguments(RunConfig)
    parser.add_optimizer_args()
    parser.add_lr_scheduler_args()
    skip: set[str | int] = {name for name in inspect.signature(method).parameters if name in RUNTIME_PARAMETERS}
    parser.add_method_arguments(HeliconTrainer, command, skip=skip)
    return parser


def resolve(config: Config) -> TrainConfig:
    """Return the typed form of a config, with defaults for options that it leaves out.

    Raises:
        UsageError: an option is unknown, of another type, or without effect.
        ValueError: values do not fit each other.
    """
    task = check_task_name(config.get("task"))
    values = make_parser(task).parse_object(deepcopy(dict(config)))  # jsonargparse changes the dict that it parses
    check_options(task, values)
    return TrainConfig(values)


def check_options(task: str, config: Namespace) -> None:
    """Validate the options of a parsed config that the parser's types do not.

    Args:
        task: name of the task.
        config: parsed.

    Raises:
        UsageError: an option without effect, a value out of range, or a precision or strategy unfit for the task.
        ValueError: values do not fit each other.
    """
    refusal = unused_option(config.as_dict()) or invalid_number(config.as_dict())
    refusal = refusal or unknown_precision(task, config.trainer.precision)
    if refusal := refusal or unknown_strategy(task, str(config.trainer.strategy), bool(config.model.get("ema"))):
        raise UsageError(refusal, refusal.split()[0].removeprefix("--"))
    _check_group("model", tasks()[task].model(), config)
    _check_group("data", tasks()[task].data(), config)


def _check_group(group: str, kind: type[Any], config: Namespace) -> None:
    """Validate a group by its config class; the UsageError names the option of the first field in the message."""
    try:
        kind(**config[group].as_dict())
    except ValueError as error:
        text = str(error)
        named = re.search(rf"\b({'|'.join(option.name for option in fields(kind))})\b", text)
        if named is None:
            raise
        option = f"{group}.{named[0]}"
        if not text.startswith("--"):
            text = f"--{group}.{text}" if named.start() == 0 else f"--{option}: {text}"
        raise UsageError(text, option) from error


def typed_config(
    words: Sequence[str], base: Config, source: str | Path = "", supported: Collection[str] = ()
) -> dict[str, Any]:  # fmt: skip
    """Parse the words of a command line to a config of the options that they name.

    Args:
        words: options of `fit`, configs and presets among them.
        base: config that the words add to, such as a preset: `--data.layouts+ music` appends to its layouts.
        source: file or preset of `base`, for messages.
        supported: options that the caller uses itself, though `fit` does not.

    Returns:
        Config of the named options alone, with their values after `base`.

    Raises:
        UsageError: a word is not accepted; with file and line where a config has it.
    """
    with locating_options(source, words=words):
        task = check_task_name(base.get("task"))
        import_typed(words)
        check_typed("fit", [f"--task={task}", *words], supported)
        parser = make_parser(task)
        applied = parser.parse_args([f"--config={json.dumps(base)}", *resolve_configs(words)], defaults=False)
        config = json.loads(parser.dump(applied, format="json", skip_unset=False))
        # Absolute paths, as a config in another folder may name them relatively
        plugins = [str(plugin.file or plugin) for plugin in require(config.get("plugins") or [])]
        config = merge(config, {"plugins": plugins}) if plugins else config
    return chosen(config, set(typed_names(words)))


def task_of(args: Sequence[str]) -> str:
    """Return the task of a command line: that of --task, else of its configs, else `gpt`.

    Raises:
        UsageError: an unknown task, or configs of two tasks.
    """
    typed, configured = None, {}
    for name, value in typed_options(args):
        if name == "--task":
            typed = value
        elif name == "--config":
            config = yaml.safe_load(value) if value.startswith("{") else preset(value)
            configured |= {str(config["task"]): value} if config.get("task") is not None else {}
    if typed is None and len(configured) > 1:
        both = " and ".join(f"{task} by {printable(config, 60)}" for task, config in configured.items())
        raise UsageError(f"two tasks are configured, {both}: leave one of them out", "task")
    return check_task_name(typed if typed is not None else next(iter(configured), None))


def check_task_name(task: Any) -> str:
    """Validate the name of a task and return it; `gpt` for None.

    Raises:
        UsageError: an unknown task.
    """
    if task is not None and str(task) not in tasks():
        raise UsageError(unknown("task", str(task), tasks()), "task")
    return task or "gpt"


def check_typed(command: str, args: Sequence[str], supported: Collection[str] = ()) -> None:
    """Validate the typed options of a command; those of its configs are not checked.

    Args:
        command: `fit`, `validate`, `test` or `prepare`.
        args: words of the command line.
        supported: options that the caller uses itself, though the command does not; not empty for `helicon train`.

    Raises:
        UsageError: an option would have no effect.
        TrainingError: a config is of a run of another format.
    """
    for config in configs_of(args):
        check_format(preset_path(config))
    typed = [*typed_options(args)]
    if supported and "--trainer.fast_dev_run" in dict(typed):
        page = "in train, which ends with a page; use helicon fit"
        raise UsageError(f"--trainer.fast_dev_run would have no effect {page}")
    for name in (name for name, _ in typed if supported and name.startswith("--codec.")):
        advice = f"`helicon train image-codec DIR --{name.removeprefix('--codec.')}` trains one by itself"
        raise UsageError(f"{name}: --codec names a preset; {advice}, which --data.tokenizer RUN takes")
    if refusal := idle_option(command, task_of(args), typed, supported):
        raise UsageError(refusal)
