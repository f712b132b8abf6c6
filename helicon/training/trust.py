"""What a run's own config may ask for when the run is gone on with: settings, but no code, configs or commands.

A run may be somebody else's. Whatever names classes, files of settings or what follows is refused unless it is typed.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from helicon.formats.printable import MOST, printable
from helicon.presets import preset_names
from helicon.training.claims import excess
from helicon.training.errors import TrainingError
from helicon.training.folders import CONFIG
from helicon.training.words import typed_options

GROUPS = ("trainer", "model", "data")
PLAIN = (str, int, float, bool, type(None))
CODE = ("logger", "callbacks", "profiler", "plugins")  # of the trainer: a text for one of these is imported as a class
NAMES = {  # of the trainer: words that Lightning knows, whose own errors for others are long
    "strategy": r"auto|fsdp2|[a-z]{3,6}(_[a-z_]{1,40})?", "accelerator": "auto|cpu|gpu|cuda|mps",
}  # fmt: skip
IMPORTING = {"class_path", "init_args", "dict_kwargs", "__path__", "__default_config__"}
STAGE_OPTIONS = ("--minutes", "--size", "--runs", "--seed", "--name", "--manifest", "--for", "--next")
STAGE_OPTIONS += ("--config", "--codec", "--keep", "--samples")
DEEPEST = 8  # stages that follow each other


def check_config(
    run: Path, config: dict[str, Any], onto: Path | None = None, typed: Sequence[str] = ()
) -> None:  # fmt: skip
    """TrainingError for what a run's config may not ask for; the message says how to go on with it all the same.

    What follows the run is looked at by `check_next`: only who goes on with the next stage follows it.

    onto: run that was typed as the one to be given this upsampler. typed: other arguments that count in its place.
    """
    if fault := _fault(config):  # what is typed is trusted, a config too
        command = f"helicon fit --config {_where(run)} --name {printable(run.name, 60)} --ckpt_path last"
        raise TrainingError(f"{_where(run)}: {fault}, which could run code; if you trust it: {command}")
    if asked := excess(config, dict(typed_options(typed))):
        raise TrainingError(f"{_where(run)}: {asked}; if more is meant, type it beside --resume or --repeat")
    theirs = config.get("onto")
    if theirs is not None and not _beside(run, theirs) and (onto is None or not _same(onto, theirs)):
        raise TrainingError(
            f"{_where(run)}: onto {printable(theirs, MOST)} is not beside the run; --for with it says that it is meant"
        )


def check_start(run: Path, config: dict[str, Any], typed: Sequence[str] = ()) -> None:
    """TrainingError for a checkpoint to begin with that is not of this run or one beside it, unless one is typed."""
    theirs = config.get("ckpt_path")
    if theirs is None or "--ckpt_path" in dict(typed_options(typed)):
        return
    runs = Path(os.path.realpath(run)).parent
    if not isinstance(theirs, str) or not Path(os.path.realpath(theirs)).is_relative_to(runs):
        shown = printable(theirs, MOST)
        raise TrainingError(
            f"{_where(run)}: ckpt_path {shown} is not of a run beside it; type --ckpt_path if it is meant"
        )


def check_next(run: Path, config: dict[str, Any]) -> None:
    """TrainingError unless what follows a run is a training of the same files beside it, by plain settings."""
    words = config.get("next")
    if words and (fault := _stage_fault(run, words, (config.get("data") or {}).get("path"))):
        typed = printable(shlex.join(map(str, words)) if isinstance(words, list) else words, 120)
        advice = f"take it out, or type it yourself when this run is done: helicon train {typed}"
        raise TrainingError(f"{_where(run)}: next: {fault}; {advice}")


def _where(run: Path) -> str:
    return printable(run / CONFIG)


def _fault(config: dict[str, Any]) -> str | None:
    """What in a config names code or another config."""
    for name, value in config.items():
        if not isinstance(name, str) or not name.isidentifier() or name == "config":
            return f"{printable(repr(name), 60)} is no setting"
        if name in GROUPS and value is not None and not isinstance(value, dict):
            return f"{name} names another config ({printable(value, 60)})"
        if found := _importing(value):
            return f"{name} names {found}"
    known = set(inspect.signature(pl.Trainer).parameters)
    for name, value in (config.get("trainer") or {}).items():
        shown = f"trainer.{printable(name, 40)}"
        if name not in known:
            return f"{shown} is no setting"
        if name in CODE and value not in (None, True, False, []):
            return f"{shown} names code ({printable(json.dumps(value, default=str), 80)})"
        if name in NAMES and not (isinstance(value, str) and re.fullmatch(NAMES[name], value)):
            return f"{shown} names code ({printable(json.dumps(value, default=str), 80)})"
        if not all(isinstance(each, PLAIN) for each in (value if isinstance(value, list) else [value])):
            return f"{shown} is no plain setting"
    return None


def _importing(value: Any) -> str | None:
    """The class or file that some part of a value asks for, as jsonargparse takes it."""
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            if names := IMPORTING & set(map(str, part)):
                return f"code or another config ({min(names)} {printable(part.get(min(names)), 60)})"
            left += part.values()
        elif isinstance(part, list):
            left += part
        elif not isinstance(part, PLAIN):
            return f"something that is no plain setting ({type(part).__name__})"
    return None


def _stage_fault(run: Path, words: Any, path: Any, depth: int = 0) -> str | None:
    """What keeps the words of a next stage from being followed."""
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words) or depth > DEEPEST:
        return "not the words of a command"
    presets = set(preset_names())
    if len(words) < 2 or words[0] not in presets or words[1] != path:
        return "not one of the tasks on the same files"
    options, settings = list(words[2:]), {group: {} for group in GROUPS}
    while options:
        name, equals, value = options.pop(0).partition("=")
        value = value if equals or not options else options.pop(0)
        if not _plain_option(name, value) or (name in ("--config", "--codec") and value not in presets):
            return f"{printable(f'{name} {value}', 80)} is no plain setting"
        group, _, setting = name.removeprefix("--").partition(".")
        settings.get(group, {})[setting] = value
        if name == "--size" and value not in presets | {"auto"}:
            return f"{printable(f'{name} {value}', 80)} is no size"
        if name == "--runs" and not _same(Path(value), run.parent):
            return f"{printable(value, 80)} is not the folder of the run"
        if (name == "--for" and not _beside(run, value)) or (name == "--name" and Path(value).name != value):
            return f"{printable(value, 80)} is not beside the run"
        if name == "--next" and (fault := _stage_fault(run, _list(value), path, depth + 1)):
            return fault
    return excess(settings)


def _plain_option(name: str, value: str) -> bool:
    if name.startswith("--trainer."):
        return not _fault({"trainer": {name.removeprefix("--trainer."): value}})
    return name in STAGE_OPTIONS or re.fullmatch(r"--(data|model)\.[a-z_0-9]+(\.[a-z_0-9-]+)?", name) is not None


def _list(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _beside(run: Path, other: Any) -> bool:
    """Whether a path is of a folder beside the run."""
    return isinstance(other, str) and _same(Path(os.path.abspath(other)).parent, Path(os.path.abspath(run)).parent)


def _same(one: Path, other: Path | str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
