"""What a run's own config may ask for when the run is gone on with: settings, but no code, configs or commands.

A run may be somebody else's. Whatever names classes, files of settings or what follows is refused unless it is typed.
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

from helicon.formats.checked import texts
from helicon.formats.printable import MOST, printable
from helicon.plugins.loading import require
from helicon.presets import GROUPS, preset_names
from helicon.training.errors import TrainingError
from helicon.training.runs.claims import excess
from helicon.training.runs.folders import CONFIG
from helicon.training.settings.request import TrainRequest

PLAIN = (str, int, float, bool, type(None))
CODE = ("logger", "callbacks", "profiler", "plugins")  # of the trainer: a text for one of these is imported as a class
CLASSES = ("optimizer", "lr_scheduler")  # of the run: the same
ELSEWHERE = ("path", "manifest", "adopt")  # of the data: what says where they are
NAMES = {  # of the trainer: words that Lightning knows, whose own errors for others are long
    "strategy": r"auto|fsdp2|[a-z]{3,6}(_[a-z_]{1,40})?", "accelerator": "auto|cpu|gpu|cuda|mps",
}  # fmt: skip
IMPORTING = {"class_path", "init_args", "dict_kwargs", "__path__", "__default_config__"}
STAGE_OPTIONS = (*GROUPS, "codec", "keep", "samples", "plugins")  # that a next stage may override
DEEPEST, MOST_PLUGINS = 8, 32  # stages that follow each other, plugins of each


def check_config(
    run: Path, config: dict[str, Any], upsampler_of: Path | None = None, typed: Collection[str] = ()
) -> None:  # fmt: skip
    """Refuses what a run's config may not ask for.

    What follows the run is looked at by `check_next`: only who goes on with the next stage follows it.

    Args:
        run: folder of the run.
        config: as it lies there.
        upsampler_of: run that was typed as the one to be given this upsampler.
        typed: names of other options whose typed values count in the place of the run's.

    Raises:
        TrainingError: that says how to go on with the run all the same.
    """
    check_plain(run, config)
    if asked := excess(config, typed):
        raise TrainingError(f"{_where(run)}: {asked}; if more is meant, type it beside --resume")
    theirs = config.get("upsampler_of")
    if theirs is None or _beside(run, theirs) or (upsampler_of is not None and _same(upsampler_of, theirs)):
        return
    meant = f"upsampler_of {printable(theirs, MOST)} is not beside the run; --for with it says that it is meant"
    raise TrainingError(f"{_where(run)}: {meant}")


def check_plain(run: Path, config: dict[str, Any]) -> None:
    """TrainingError for a run's config that names code or another config, beside what follows the run."""
    alone = {name: value for name, value in config.items() if name != "next"}
    if fault := _fault(alone):  # what is typed is trusted, a config too
        place = f"--runs {printable(run.parent)} --name {printable(run.name, 60)}"
        command = f"helicon fit --config {_where(run)} {place} --ckpt_path last"
        raise TrainingError(f"{fault}, which could run code; if you trust the run: {command}")


def check_plugins(run: Path, config: Mapping[str, Any]) -> list[str]:
    """Returns the plugins that are loaded for those that a run needs, as a config names them.

    TrainingError for one that nobody has named: it may be a stranger's, and is not run.
    """
    try:
        return [str(plugin) for plugin in require(texts("plugins", config.get("plugins") or [], MOST_PLUGINS))]
    except ValueError as error:
        raise TrainingError(f"{_where(run)}: {error}") from None


def check_data(run: Path, config: dict[str, Any]) -> None:
    """TrainingError for a plain config without files to go on with."""
    if not isinstance((config.get("data") or {}).get("path"), str):
        raise TrainingError(f"{_where(run)}: data.path is not there; the config of a run says what it was trained on")


def check_start(run: Path, config: dict[str, Any], typed: Collection[str] = ()) -> None:
    """TrainingError for a checkpoint to begin with that is not of this run or one beside it, unless one is typed."""
    theirs = config.get("ckpt_path")
    if theirs is None or "ckpt_path" in typed:
        return
    runs = Path(os.path.realpath(run)).parent
    if not isinstance(theirs, str) or not Path(os.path.realpath(theirs)).is_relative_to(runs):
        shown = printable(theirs, MOST)
        raise TrainingError(
            f"{_where(run)}: ckpt_path {shown} is not of a run beside it; type --ckpt_path if it is meant"
        )


def check_next(run: Path, config: dict[str, Any]) -> TrainRequest | None:
    """Returns what follows a run, if anything does.

    Raises:
        TrainingError: unless it is a training of the same files beside the run, by plain settings.
    """
    if not (following := config.get("next")):
        return None
    try:
        _check_stage(run, following, config.get("data") or {})
        return _beside_run(TrainRequest.from_config(following), run)
    except (ValueError, RecursionError) as error:
        reason = printable(str(error) or "not a training", MOST)
        advice = "take it out, or type what is to follow yourself when this run is done"
        raise TrainingError(f"{_where(run)}: next: {reason}; {advice}") from None


def _where(run: Path) -> str:
    return printable(run / CONFIG)


def _fault(config: dict[str, Any]) -> str | None:
    """What in a config names code or another config."""
    for name, value in config.items():
        if not isinstance(name, str) or not name.isidentifier() or name == "config":
            return f"{printable(repr(name), 60)} is no setting"
        if name in CLASSES and value is not None:
            return f"{name} names code ({printable(json.dumps(value, default=str), 80)})"
        if name in GROUPS and value is not None and not isinstance(value, dict):
            return f"{name} names another config ({printable(value, 60)})"
        if found := _importing(value):
            return f"{name} names {found}"
    known = set(inspect.signature(pl.Trainer).parameters)
    for name, value in (config.get("trainer") or {}).items():
        shown = f"trainer.{printable(name, 40)}"
        if name not in known:
            return f"{shown} is no setting"
        if name == "default_root_dir" and value is not None:
            return f"{shown} names another folder ({printable(value, 60)})"
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


def _check_stage(run: Path, stage: Any, data: dict[str, Any], depth: int = 0) -> None:
    """ValueError for what keeps a next stage from being followed."""
    if not isinstance(stage, dict) or depth > DEEPEST:
        raise ValueError("not a training")
    request, presets = TrainRequest.from_config({**stage, "next": None}), set(preset_names())
    overrides = dict(request.overrides)
    theirs = overrides["data"] if isinstance(overrides.get("data"), dict) else {}
    elsewhere = [name for name in ELSEWHERE if name in theirs and theirs[name] != data.get(name)]
    if stage.get("manifest") is not None and stage["manifest"] != data.get("manifest"):
        elsewhere.append("manifest")
    if request.task not in presets or stage["path"] != data.get("path") or elsewhere:
        raise ValueError(f"not one of the tasks on the same files{f' ({elsewhere[0]})' if elsewhere else ''}")
    if request.size not in presets | {"auto"}:
        raise ValueError(f"{printable(request.size, 80)} is no size")
    if "runs" in stage and not _same(request.runs, run.parent):
        raise ValueError(f"runs {printable(request.runs, 80)} is not the folder of the run")
    if request.init_from or (request.name is not None and Path(request.name).name != request.name):
        raise ValueError(f"{printable(request.init_from or request.name, 80)} is not beside the run")
    if request.upsampler_of is not None and not _beside(run, str(request.upsampler_of)):
        raise ValueError(f"{printable(request.upsampler_of, 80)} is not beside the run")
    if wrong := [name for name in overrides if name not in STAGE_OPTIONS]:
        raise ValueError(f"{printable(repr(wrong[0]), 60)} is no plain setting")
    require(texts("plugins", overrides.get("plugins") or [], MOST_PLUGINS))
    if overrides.get("codec") not in presets | {None}:
        raise ValueError(f"codec {printable(overrides['codec'], 80)} is no preset")
    if fault := _fault(overrides) or excess(overrides):
        raise ValueError(fault)
    if stage.get("next") is not None:
        _check_stage(run, stage["next"], data, depth + 1)


def _beside_run(request: TrainRequest, run: Path) -> TrainRequest:
    """The request with all of its stages beside a run, wherever the current folder is."""
    following = _beside_run(request.next, run) if request.next else None
    return replace(request, runs=run.parent, next=following)


def _beside(run: Path, other: Any) -> bool:
    """Whether a path is of a folder beside the run."""
    return isinstance(other, str) and _same(Path(os.path.abspath(other)).parent, Path(os.path.abspath(run)).parent)


def _same(one: Path, other: Path | str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)
