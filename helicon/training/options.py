"""Options of a training: the parser of `fit` for each task, what is typed, and the config that several sources make.

A config is a nested dict as in a YAML file: options of the run, and the groups `model`, `data` and `trainer`. Presets,
what `helicon train` decides and what is typed are such dicts, of which a later one wins; a parser checks the whole.
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

from helicon.cli import CommandError
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

UNION_ERROR = "Does not validate against any of the Union subtypes"
RUNTIME_PARAMETERS = {
    "model",
    "datamodule",
    "dataloaders",
    "train_dataloaders",
    "val_dataloaders",
}  # to a command, not typed
# Options that are mappings -> one that is accepted
MAPPING_EXAMPLES = {
    "data.changes": "{crop: [0.9, 1], flip: 0.5}",
    "data.tokenizers": "{text: bytes}",
    "model.slot_weights": "{text: 0.5}",
}
MAX_MESSAGE = 300  # characters of a complaint of the parser, which repeats what it was given


class UsageError(CommandError, ValueError):
    """An argument that is not known or not accepted; the message names it and what would be.

    Args:
        message: one line.
        option: dotted name of the option, where it is one of a config.
    """

    def __init__(self, message: str, option: str | None = None) -> None:
        super().__init__(message)
        self.option = option


class TrainingParser(LightningArgumentParser):
    """Errors in one line, with the nearest option; no abbreviations.

    Args:
        task: whose options it has.
        command: of Lightning's, whose options it has.
    """

    def __init__(self, *args: Any, task: str = "gpt", command: str = "fit", **kwargs: Any) -> None:
        kwargs["allow_abbrev"] = False
        super().__init__(*args, **kwargs)
        self.task, self.command = task, command

    @property
    def options(self) -> set[str]:
        """All that it knows: `--model.lr`."""
        return {name for action in self._actions for name in action.option_strings if name.startswith("--")}

    def add_class_arguments(self, *args: Any, **kwargs: Any) -> list[str]:  # type: ignore[override]
        """Without settings in files: a word such as `auto` would be opened where a file of that name lies, and run."""
        return super().add_class_arguments(*args, **{**kwargs, "sub_configs": False})

    def error(self, message: str, ex: Exception | None = None) -> Any:
        raise usage_error(message, self) from ex

    def _print_message(self, message: str, file: Any = None) -> None:
        print_text(message.rstrip("\n"), file)


def usage_error(message: str, parser: TrainingParser) -> UsageError:
    """A parser's complaint in one line; of an option that is not known, whose it is or the nearest one."""
    text = " ".join(message.split())
    # Of a class and others, as `--trainer.logger` takes them, what is wrong with the class comes first
    if nested := re.search(rf"(.*){UNION_ERROR} .*?Errors: - (.+?) - ", text):
        text = nested[1] + nested[2]
    line = printable(text, MAX_MESSAGE)
    line = re.sub(r'^(?:Parser key "?config"?:|--config:) (?=--)', "", line)  # of a config that several sources make
    line = re.sub(r"^Group '(\w+)' does not accept option '([\w.-]+)'", r"unrecognized arguments: \1.\2", line)
    line = re.sub(r"^Option '([\w.-]+)'.*", r"unrecognized arguments: \1", line)
    wrong = re.search(r"(?:[Uu]nrecognized arguments: |[Kk]ey )\"?'?(-*[\w.-]+)|^--([\w.]+): ", line)
    known = re.search(r"[Uu]nrecognized|not expected|is not valid|does not (?:exist|accept)|[Nn]o action", line)
    option = (wrong[1] or wrong[2]).lstrip("-") if wrong else None
    if option and known:
        others = [task for task in tasks() if task != parser.task and _has(task, parser.command, option)]
        if others:
            return UsageError(f"--{option} is an option of {' and '.join(others)}; this trains {parser.task}", option)
        return UsageError(unknown("option", f"--{option}", _similar_options(option, parser)), option)
    for name, example in MAPPING_EXAMPLES.items():
        if option and f"{option}.".startswith(f"{name}."):
            return UsageError(f"--{name}: names and their values are accepted, such as {example}", name)
    return UsageError(re.sub(r'^Parser key "?([\w.]+)"?', r"--\1", line), option)


def _similar_options(option: str, parser: TrainingParser) -> list[str]:
    """Options that end with the name that is none, as `--model.lr` with `--lr`; all where none does."""
    known = sorted(parser.options)
    return [name for name in known if re.search(rf"[._]{re.escape(option)}$", name)] or known


def check_names(words: Sequence[str]) -> None:
    """UsageError for an option that no training has: it has taken the word after it for its value."""
    for name in typed_names(words):
        if not any(_has(task, "fit", name) for task in tasks()):
            raise usage_error(f"unrecognized arguments: --{name}", make_parser("gpt"))


def _has(task: str, command: str, option: str) -> bool:
    return f"--{option}" in make_parser(task, command).options


@contextmanager
def locating_options(*configs: str | Path, words: Sequence[str] = ()) -> Iterator[None]:
    """While it lasts, what refuses an option also names the line of a file or preset that has it, unless it is typed.

    Args:
        configs: files and presets that options come of.
        words: those that are typed, other configs among them.
    """
    try:
        yield
    except (UsageError, DataError) as error:
        said = re.match(r"--([\w.]+)", str(error))
        option = error.option if isinstance(error, UsageError) else said and said[1]
        files = [*map(str, configs), *configs_of(words)]
        typed = dict(typed_options(words)).get(f"--{option}")
        if not option or (typed is not None and not _concerns_config(str(error), typed)):
            raise
        if places := [place for name in files if (place := _find_option(option, name))]:
            raise UsageError(f"{error} ({places[-1]})") from error  # later ones go before
        raise


def _concerns_config(message: str, typed: str) -> bool:
    """Whether a complaint is of another value than the one that is typed for its option, which then is a config's."""
    refused = re.search(r"Got value: (.+)", message)
    if refused is None or refused[1] == typed:
        return False
    try:
        return float(refused[1]) != float(typed)  # a number is told as it was read: 1e1 as 10.0
    except ValueError:
        return True


def _find_option(option: str, config: str) -> str | None:
    """File and line of a preset or YAML file that has an option; None where none does."""
    if not (path := config_path(config)).is_file():
        return None
    node, line = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader), 0
    for name in option.split("."):
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        found = [(key, value) for key, value in pairs if key.value.rstrip("+") == name]
        if not found:
            return None
        line, node = found[0][0].start_mark.line + 1, found[0][1]
    return f"{printable(path)}, line {line}"


def make_parser(task: str, command: str = "fit") -> TrainingParser:
    """The parser of one of Lightning's commands: the groups of a task, each flat, and the options of a run."""
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
    """Returns the typed form of a config, with defaults for what it leaves out.

    Raises:
        UsageError: for an option that is unknown, of another type, or without effect.
        ValueError: for values that do not go together.
    """
    task = check_task_name(config.get("task"))
    values = make_parser(task).parse_object(deepcopy(dict(config)))  # whose inner dicts jsonargparse puts others for
    check_options(task, values)
    return TrainConfig(values)


def check_options(task: str, config: Namespace) -> None:
    """UsageError for options that would have no effect, and what a task is not trained in or by."""
    refusal = unused_option(config.as_dict()) or invalid_number(config.as_dict())
    refusal = refusal or unknown_precision(task, config.trainer.precision)
    if refusal := refusal or unknown_strategy(task, str(config.trainer.strategy), bool(config.model.get("ema"))):
        raise UsageError(refusal, refusal.split()[0].removeprefix("--"))
    _check_group("model", tasks()[task].model(), config)
    _check_group("data", tasks()[task].data(), config)


def _check_group(group: str, kind: type[Any], config: Namespace) -> None:
    """UsageError for values that a config class does not accept, by the option of the first field that it names."""
    try:
        kind(**config[group].as_dict())
    except ValueError as error:
        text = str(error)
        named = re.search(rf"\b({'|'.join(each.name for each in fields(kind))})\b", text)
        if named is None:
            raise
        option = f"{group}.{named[0]}"
        if not text.startswith("--"):
            text = f"--{group}.{text}" if named.start() == 0 else f"--{option}: {text}"
        raise UsageError(text, option) from error


def typed_config(
    words: Sequence[str], base: Config, source: str | Path = "", heeded: Collection[str] = ()
) -> dict[str, Any]:  # fmt: skip
    """Returns what is typed as a config: only what the words name, as it is when they come after `base`.

    Args:
        words: options of `fit`, configs and presets among them.
        base: config that they add to, such as a preset: `--data.layouts+ music` appends to its layouts.
        source: file or preset that has it.
        heeded: options that whoever goes by the config has a use for, though `fit` has none.

    Raises:
        UsageError: for a word that is not accepted, with file and line where a config says it.
    """
    with locating_options(source, words=words):
        task = check_task_name(base.get("task"))
        import_typed(words)
        check_typed("fit", [f"--task={task}", *words], heeded)
        parser = make_parser(task)
        applied = parser.parse_args([f"--config={json.dumps(base)}", *resolve_configs(words)], defaults=False)
        found = json.loads(parser.dump(applied, format="json", skip_unset=False))
        # Where they lie, whatever folder their config was in
        plugins = [str(plugin.file or plugin) for plugin in require(found.get("plugins") or [])]
        found = merge(found, {"plugins": plugins}) if plugins else found
    return chosen(found, set(typed_names(words)))


def task_of(args: Sequence[str]) -> str:
    """Which classes arguments configure: what --task says, or a config. UsageError for others, and for two of them."""
    typed, said = None, {}
    for name, value in typed_options(args):
        if name == "--task":
            typed = value
        elif name == "--config":
            config = yaml.safe_load(value) if value.startswith("{") else preset(value)
            said |= {str(config["task"]): value} if config.get("task") is not None else {}
    if typed is None and len(said) > 1:
        both = " and ".join(f"{task} by {printable(config, 60)}" for task, config in said.items())
        raise UsageError(f"two tasks are configured, {both}: leave one of them out", "task")
    return check_task_name(typed if typed is not None else next(iter(said), None))


def check_task_name(task: Any) -> str:
    """The task, `gpt` unless one is named; UsageError for another."""
    if task is not None and str(task) not in tasks():
        raise UsageError(unknown("task", str(task), tasks()), "task")
    return task or "gpt"


def check_typed(command: str, args: Sequence[str], heeded: Collection[str] = ()) -> None:
    """UsageError for an option that a command has no use for, of those that are typed rather than in a config.

    TrainingError for a config among them that is of a run of another format.
    """
    for config in configs_of(args):
        check_format(preset_path(config))
    typed = [*typed_options(args)]
    if heeded and "--trainer.fast_dev_run" in dict(typed):
        page = "in train, which ends with a page; use helicon fit"
        raise UsageError(f"--trainer.fast_dev_run would have no effect {page}")
    for name in (name for name, _ in typed if heeded and name.startswith("--codec.")):
        advice = f"`helicon train image-codec DIR --{name.removeprefix('--codec.')}` trains one by itself"
        raise UsageError(f"{name}: --codec names a preset; {advice}, which --data.tokenizer RUN takes")
    if refusal := idle_option(command, task_of(args), typed, heeded):
        raise UsageError(refusal)
