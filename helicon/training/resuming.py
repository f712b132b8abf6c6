"""Configs that resume a run from its newest checkpoint, or repeat it as a new run."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from helicon.formats.progress import log
from helicon.presets import dotted, merge
from helicon.training.changes import PLACE_OPTIONS, check_unchanged
from helicon.training.errors import TrainingError
from helicon.training.options import typed_config
from helicon.training.plan_config import max_time
from helicon.training.processes import is_first
from helicon.training.runs.checkpoints import latest_checkpoint
from helicon.training.runs.folders import CONFIG, check_regular_files, choose_run, folder_options, read_config
from helicon.training.runs.record import read_record
from helicon.training.runs.trust import (
    PATH_OPTIONS,
    check_config,
    check_data,
    check_next,
    check_plain,
    check_plugins,
    check_start,
)
from helicon.training.settings.idle_options import settled_option
from helicon.training.settings.request import check_minutes
from helicon.training.stopping import Interrupted
from helicon.training.usage_errors import UsageError


def resumed_config(
    run: Path, words: Sequence[str] = (), minutes: float | None = None, upsampler_of: Path | None = None
) -> dict[str, Any]:
    """Return the config that resumes a run from its newest readable checkpoint; logs unreadable newer ones.

    Args:
        run: folder of the run.
        words: typed options of `helicon fit`, whose values replace the run's.
        minutes: time limit of the training, its part before the checkpoint included; None for the run's.
        upsampler_of: folder of the run that was typed after --for, which the upsampler is attached to.

    Returns:
        Config of `fit` (nested dict), with `ckpt_path`.

    Raises:
        TrainingError: the run's config could run code or exceeds a limit, or no checkpoint is readable.
        UsageError: a word is not accepted, or the checkpoint settles its option.
        ValueError: minutes out of range.
    """
    if minutes is not None:
        check_minutes(minutes)
    config = read_config(run)
    config["plugins"] = check_plugins(run, config)
    typed = _typed(run, config, words)
    if settled := settled_option("fit", config.get("task", "gpt"), dotted(typed)):
        raise UsageError(f"--{settled} would have no effect: --resume {run} goes on with the checkpoint's own")
    check_config(run, config, upsampler_of, dotted(typed))
    check_data(run, config)
    check_next(run, config)  # now, before hours of training, and again when its turn has come
    check_regular_files(run)
    checkpoint, faults = latest_checkpoint(run)
    for fault in faults:
        log(f"{fault}; going on from {checkpoint}")
    longer = {} if minutes is None else {"trainer": {"max_time": max_time(minutes)}}
    config = on_same_files(config, typed.get("data") or {})
    return merge(config, folder_options(run), {"ckpt_path": str(checkpoint)}, typed, longer)


def on_same_files(config: dict[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config whose next stages train on the files that are typed beside `--resume`, such as moved ones.

    Args:
        config: of a run, or request of a stage, a nested dict that was checked.
        data: typed options of the group `data`.

    Returns:
        A new config.
    """
    if not config.get("next"):
        return config
    files = {name: data[name] for name in PATH_OPTIONS if name in data}
    stage = on_same_files(config["next"], data)
    stage = {**stage, **{name: path for name, path in files.items() if name in stage}}
    if overrides := stage.get("overrides"):
        theirs = overrides.get("data") or {}
        known = {name: path for name, path in files.items() if name in theirs}
        stage["overrides"] = merge(overrides, {"data": known} if known else {})
    return {**config, "next": stage}


def repeated_config(
    run: Path, runs: Path | None = None, name: str | None = None, words: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the config that repeats a run as a new one, limited by its steps rather than its minutes.

    Args:
        run: folder of the run.
        runs: folder in which the new run's folder is made; None for that of `run`.
        name: of the new run; None for NAME-repeat-N.
        words: typed options of `helicon fit`: those of machine and places alone.

    Returns:
        Config of `fit` (nested dict), with `repeat`.

    Raises:
        TrainingError: the run's config could run code or exceeds a limit, or the run has no step or changed options.
        UsageError: a word is not accepted, or would make another run.
    """
    config = read_config(run)
    config["plugins"] = check_plugins(run, config)
    typed = _typed(run, config, words)
    if more := [name for name in dotted(typed) if name not in (*PLACE_OPTIONS, "plugins")]:
        accepted = ", ".join(f"--{name}" for name in PLACE_OPTIONS)
        raise UsageError(f"--repeat {run} takes no --{more[0]}; {accepted} may differ")
    check_config(run, config | {"upsampler_of": None}, typed=dotted(typed))
    check_data(run, config)
    check_start(run, config, dotted(typed))
    check_regular_files(run)
    check_unchanged(run)
    record = read_record(run)
    if not record.steps:
        raise TrainingError(f"{run}: there is no step yet that could be repeated")
    repeated = choose_run(runs or run.parent, name, f"{Path(os.path.abspath(run)).name}-repeat")
    steps = {"trainer": {"max_steps": record.steps, "max_time": None}}
    # Next stages are not repeated, and a repeated upsampler does not replace the attached one
    alone = {"repeat": str(run), "next": None, "upsampler_of": None}
    return merge(config, steps, alone, folder_options(repeated), typed)


def _typed(run: Path, config: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """Return the config of the options that were typed beside a run."""
    if not words:
        return {}
    check_plain(run, config)
    check_data(run, config)
    return typed_config(
        words, {name: config[name] for name in ("task", "data", "plugins") if name in config}, run / CONFIG
    )


def exit_status(interrupted: Interrupted) -> int:
    """Return the exit status, 130 for Ctrl-C and 143 for SIGTERM, but 0 in a sibling rank.

    Lightning ends all ranks when one fails.
    """
    return 128 + signal.Signals(interrupted.number).value if is_first() else 0
