"""Trust checks of a resumed run's config: plain settings pass; code, other configs and commands are refused.

A run may come from somebody else. Settings that name classes, config files or a next stage elsewhere are refused
unless the user types them.
"""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from helicon.formats.printable import MAX_QUOTED, printable
from helicon.plugins.loading import require
from helicon.presets import GROUPS, preset_names
from helicon.sources.local import is_brought
from helicon.sources.places import shown
from helicon.training.errors import TrainingError
from helicon.training.runs.claims import excessive_setting
from helicon.training.runs.folders import CONFIG
from helicon.training.settings.request import TrainRequest
from helicon.training.settings.user_classes import plugins_of

PLAIN_TYPES = (str, int, float, bool, type(None))  # of settings that cannot name code
# Options of the trainer whose texts jsonargparse imports as classes; and options of the run that name classes
CODE_OPTIONS = ("logger", "callbacks", "profiler", "plugins")
CLASS_OPTIONS = ("optimizer", "lr_scheduler")
PATH_OPTIONS = ("path", "sources", "manifest", "init_from")  # of the group `data`: places of files and of a bundle
# Options of the trainer -> pattern of Lightning's words for them; any other text could be a class path
TRAINER_WORDS = {
    "strategy": r"auto|fsdp2|[a-z]{3,6}(_[a-z_]{1,40})?", "accelerator": "auto|cpu|gpu|cuda|mps",
}  # fmt: skip
IMPORT_KEYS = {"class_path", "init_args", "dict_kwargs", "__path__", "__default_config__"}  # jsonargparse's
OVERRIDABLE = (*GROUPS, "codec", "weights", "samples", "plugins")  # that a next stage may override
MAX_STAGES = 8  # that follow each other: `helicon train` makes a codec, a model and up to 7 upsamplers


def check_config(
    run: Path, config: dict[str, Any], upsampler_of: Path | None = None, typed: Collection[str] = ()
) -> None:  # fmt: skip
    """Validate the config of a run that is resumed; its next stage is checked by `check_next` alone.

    Args:
        run: folder of the run.
        config: of the run, a nested dict.
        upsampler_of: folder of the run that the user typed after --for, which the upsampler is attached to.
        typed: dotted names of options that the user typed, whose values replace the config's.

    Raises:
        TrainingError: the config could run code, exceeds a limit, reads from a server that the user has not named
            before, or attaches the upsampler to a run elsewhere; the message says how to resume the run all the same.
    """
    check_plain(run, config)
    if asked := excessive_setting(config, typed):
        raise TrainingError(f"{_where(run)}: {asked}; if more is meant, type it beside --resume")
    if not {"data.path", "data.sources", "data"} & set(typed) and (elsewhere := _unknown_place(config)):
        meant = f"data.path {elsewhere} is elsewhere, and not in the cache; type --data.path with it if it is meant"
        raise TrainingError(f"{_where(run)}: {meant}")
    theirs = config.get("upsampler_of")
    if theirs is None or _is_sibling(run, theirs) or (upsampler_of is not None and _same_path(upsampler_of, theirs)):
        return
    meant = f"upsampler_of {printable(theirs, MAX_QUOTED)} is not beside the run; --for with it says that it is meant"
    raise TrainingError(f"{_where(run)}: {meant}")


def _unknown_place(config: Mapping[str, Any]) -> str:
    """Return the place of a config's files, if a server would be connected to for it; else ''."""
    data = config.get("data") or {}
    cache = Path(data["cache"]) if isinstance(data.get("cache"), str) else None
    sources = data.get("sources")
    listed = sources if isinstance(sources, list) else []
    paths = [data.get("path"), *(source.get("path") for source in listed if isinstance(source, Mapping))]
    return next((shown(path) for path in paths if isinstance(path, str) and not is_brought(path, cache)), "")


def check_plain(run: Path, config: dict[str, Any]) -> None:
    """Validate that a run's config, but for its next stage, names neither code nor another config.

    Args:
        run: folder of the run, for the message.
        config: of the run, a nested dict.

    Raises:
        TrainingError: a setting names code or another config.
    """
    alone = {name: value for name, value in config.items() if name != "next"}
    if fault := _find_code(alone):  # typed options are trusted, and a typed config too
        place = f"--runs {printable(run.parent)} --name {printable(run.name, 60)}"
        command = f"helicon fit --config {_where(run)} {place} --ckpt_path last"
        raise TrainingError(f"{fault}, which could run code; if you trust the run: {command}")


def check_plugins(run: Path, config: Mapping[str, Any]) -> list[str]:
    """Match the plugins that a run needs to those that the user has loaded; none is loaded here.

    Args:
        run: folder of the run, for the message.
        config: of the run, a nested dict.

    Returns:
        Names of the loaded plugins, as a config has them.

    Raises:
        TrainingError: a plugin that the user has not named; it may be a stranger's.
    """
    try:
        return [str(plugin) for plugin in require(plugins_of(config))]
    except ValueError as error:
        raise TrainingError(f"{_where(run)}: {error}") from None


def check_data(run: Path, config: dict[str, Any]) -> None:
    """Validate that a config names its files by data.path.

    Args:
        run: folder of the run, for the message.
        config: of the run, a nested dict.

    Raises:
        TrainingError: data.path is missing.
    """
    if not isinstance((config.get("data") or {}).get("path"), str):
        raise TrainingError(f"{_where(run)}: data.path is not there; the config of a run says what it was trained on")


def check_start(run: Path, config: dict[str, Any], typed: Collection[str] = ()) -> None:
    """Validate that a config's ckpt_path lies in the folder of the run or of its siblings.

    Args:
        run: folder of the run.
        config: of the run, a nested dict.
        typed: dotted names of options that the user typed; a typed ckpt_path is trusted.

    Raises:
        TrainingError: the checkpoint lies elsewhere.
    """
    theirs = config.get("ckpt_path")
    if theirs is None or "ckpt_path" in typed:
        return
    runs = Path(os.path.realpath(run)).parent
    if not isinstance(theirs, str) or not Path(os.path.realpath(theirs)).is_relative_to(runs):
        shown = printable(theirs, MAX_QUOTED)
        raise TrainingError(
            f"{_where(run)}: ckpt_path {shown} is not of a run beside it; type --ckpt_path if it is meant"
        )


def check_next(run: Path, config: dict[str, Any]) -> TrainRequest | None:
    """Return the request of a run's next stage.

    Args:
        run: folder of the run.
        config: of the run, a nested dict.

    Returns:
        The `TrainRequest`, all of whose stages lie beside the run; None without a next stage.

    Raises:
        TrainingError: the stage is no training of the same files beside the run by plain settings.
    """
    if not (following := config.get("next")):
        return None
    try:
        _check_stage(run, following, config.get("data") or {})
        return _move_beside(TrainRequest.from_config(following), run)
    except (ValueError, RecursionError) as error:
        reason = printable(str(error) or "not a training", MAX_QUOTED)
        advice = "take it out, or type what is to follow yourself when this run is done"
        raise TrainingError(f"{_where(run)}: next: {reason}; {advice}") from None


def _where(run: Path) -> str:
    return printable(run / CONFIG)


def _find_code(config: dict[str, Any]) -> str | None:
    """Return the refusal of the first setting that names code or another config; None without any."""
    for name, value in config.items():
        if not isinstance(name, str) or not name.isidentifier() or name == "config":
            return f"{printable(repr(name), 60)} is no setting"
        if name in CLASS_OPTIONS and value is not None:
            return f"{name} names code ({printable(json.dumps(value, default=str), 80)})"
        if name in GROUPS and value is not None and not isinstance(value, dict):
            return f"{name} names another config ({printable(value, 60)})"
        if imported := _find_import(value):
            return f"{name} names {imported}"
    parameters = set(inspect.signature(pl.Trainer).parameters)
    for name, value in (config.get("trainer") or {}).items():
        shown = f"trainer.{printable(name, 40)}"
        if name not in parameters:
            return f"{shown} is no setting"
        if name == "default_root_dir" and value is not None:
            return f"{shown} names another folder ({printable(value, 60)})"
        if name in CODE_OPTIONS and value not in (None, True, False, []):
            return f"{shown} names code ({printable(json.dumps(value, default=str), 80)})"
        if name in TRAINER_WORDS and not (isinstance(value, str) and re.fullmatch(TRAINER_WORDS[name], value)):
            return f"{shown} names code ({printable(json.dumps(value, default=str), 80)})"
        if not all(isinstance(item, PLAIN_TYPES) for item in (value if isinstance(value, list) else [value])):
            return f"{shown} is no plain setting"
    return None


def _find_import(value: Any) -> str | None:
    """Return the first class or file that a nested value makes jsonargparse import, in words; None without any."""
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            if names := IMPORT_KEYS & set(map(str, part)):
                return f"code or another config ({min(names)} {printable(part.get(min(names)), 60)})"
            left += part.values()
        elif isinstance(part, list):
            left += part
        elif not isinstance(part, PLAIN_TYPES):
            return f"something that is no plain setting ({type(part).__name__})"
    return None


def _check_stage(run: Path, stage: Any, data: dict[str, Any], depth: int = 0) -> None:
    """Validate a next stage of a run whose group `data` is given, and those that follow; else ValueError."""
    if not isinstance(stage, dict) or depth > MAX_STAGES:
        raise ValueError("not a training")
    request, presets = TrainRequest.from_config({**stage, "next": None}), set(preset_names())
    overrides = dict(request.overrides)
    theirs = overrides["data"] if isinstance(overrides.get("data"), dict) else {}
    elsewhere = [name for name in PATH_OPTIONS if name in theirs and theirs[name] != data.get(name)]
    if stage.get("manifest") is not None and stage["manifest"] != data.get("manifest"):
        elsewhere.append("manifest")
    if request.task not in presets or stage["path"] != data.get("path") or elsewhere:
        raise ValueError(f"not one of the tasks on the same files{f' ({elsewhere[0]})' if elsewhere else ''}")
    if request.size not in presets | {"auto"}:
        raise ValueError(f"{printable(request.size, 80)} is no size")
    if "runs" in stage and not _same_path(request.runs, run.parent):
        raise ValueError(f"runs {printable(request.runs, 80)} is not the folder of the run")
    if request.init_from or (request.name is not None and Path(request.name).name != request.name):
        raise ValueError(f"{printable(request.init_from or request.name, 80)} is not beside the run")
    if request.upsampler_of is not None and not _is_sibling(run, str(request.upsampler_of)):
        raise ValueError(f"{printable(request.upsampler_of, 80)} is not beside the run")
    if wrong := [name for name in overrides if name not in OVERRIDABLE]:
        raise ValueError(f"{printable(repr(wrong[0]), 60)} is no plain setting")
    require(plugins_of(overrides))
    if overrides.get("codec") not in presets | {None}:
        raise ValueError(f"codec {printable(overrides['codec'], 80)} is no preset")
    if fault := _find_code(overrides) or excessive_setting(overrides):
        raise ValueError(fault)
    if stage.get("next") is not None:
        _check_stage(run, stage["next"], data, depth + 1)


def _move_beside(request: TrainRequest, run: Path) -> TrainRequest:
    """Return the request with all of its stages beside a run, whatever the current folder is."""
    following = _move_beside(request.next, run) if request.next else None
    return replace(request, runs=run.parent, next=following)


def _is_sibling(run: Path, other: Any) -> bool:
    """Return whether a path is that of a folder beside the run."""
    return isinstance(other, str) and _same_path(Path(os.path.abspath(other)).parent, Path(os.path.abspath(run)).parent)


def _same_path(path: Path, other: Path | str) -> bool:
    return os.path.realpath(path) == os.path.realpath(other)
