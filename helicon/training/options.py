"""Options of a training: typed words become a config, and configs of many sources are merged and checked.

A config is a nested dict as in a YAML file: options of the run, and the groups `model`, `data` and `trainer`. Presets,
choices of `helicon train` and typed options are such dicts. Later ones win, and a parser checks the merged config.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace  # type: ignore[attr-defined]

from helicon.formats.nearest import unknown
from helicon.formats.printable import printable
from helicon.plugins.loading import require
from helicon.presets import Config, chosen, merge, preset, preset_path
from helicon.training.parser import make_parser
from helicon.training.runs.folders import check_format
from helicon.training.settings.idle_options import idle_option
from helicon.training.settings.lightning_options import (
    invalid_number,
    unknown_precision,
    unknown_strategy,
    unused_option,
)
from helicon.training.settings.user_classes import import_typed
from helicon.training.settings.words import configs_of, resolve_configs, typed_names, typed_options
from helicon.training.tasks import TrainConfig, tasks
from helicon.training.usage_errors import UsageError, locating_options


def resolve(config: Config) -> TrainConfig:
    """Return the `TrainConfig` of a config (nested dict), with defaults for options that it leaves out.

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
        config: Namespace of all options, parsed.

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
        base: config (nested dict) that the words add to, such as a preset: `--data.layouts+ music` appends to its
            layouts.
        source: file or preset that `base` is from, for messages.
        supported: options that the caller uses itself, though `fit` does not.

    Returns:
        Config (nested dict) of the named options alone, with their values after `base`.

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
    """Return the name of the task of a command line's words: that of --task, else of its configs, else `gpt`.

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
    """Validate the name of a task and return it, a string; `gpt` for None.

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
        args: words of the command line, after the command.
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
