"""Going on with a run from its newest checkpoint, or making it once more: configs that come of the run's own."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helicon.formats.progress import log
from helicon.presets import dotted, merge
from helicon.training.changes import PLACE_OPTIONS, check_unchanged
from helicon.training.errors import TrainingError
from helicon.training.options import UsageError, typed_config
from helicon.training.plan import max_time
from helicon.training.processes import is_first
from helicon.training.runs.checkpoints import latest_checkpoint
from helicon.training.runs.folders import CONFIG, check_regular_files, choose_run, folder_options, read_config
from helicon.training.runs.record import read_record
from helicon.training.runs.trust import check_config, check_data, check_next, check_plain, check_plugins, check_start
from helicon.training.settings.idle_options import settled_option
from helicon.training.settings.request import check_minutes
from helicon.training.stopping import Interrupted


def resumed_config(
    run: Path, words: Sequence[str] = (), minutes: float | None = None, upsampler_of: Path | None = None
) -> dict[str, Any]:
    """Returns the config that goes on with a run from its newest readable checkpoint; says so if that is not the last.

    Args:
        run: folder of a run.
        words: options of `helicon fit`, typed to count in the place of the run's own.
        minutes: that it trains in all, instead of the run's own.
        upsampler_of: run that was typed as the one that the upsampler is for.

    Raises:
        TrainingError: for a config that could run code, or asks for more than a run may.
        UsageError: for a word that is not accepted, or that a checkpoint has settled.
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
    check_next(run, config)  # before hours of training, and once more when its turn has come
    check_regular_files(run)
    checkpoint, faults = latest_checkpoint(run)
    for fault in faults:
        log(f"{fault}; going on from {checkpoint}")
    longer = {} if minutes is None else {"trainer": {"max_time": max_time(minutes)}}
    return merge(config, folder_options(run), {"ckpt_path": str(checkpoint)}, typed, longer)


def repeated_config(
    run: Path, runs: Path | None = None, name: str | None = None, words: Sequence[str] = ()
) -> dict[str, Any]:
    """Returns the config that makes a run once more, by its steps rather than its minutes: beside it unless told.

    Args:
        run: folder of a run.
        runs: folder of the new one.
        name: name of the new one.
        words: options of `helicon fit`, typed to count in the place of the run's own.

    Raises:
        TrainingError: for a config that could run code, or a run without a step.
        UsageError: for a word that is not accepted, or that would make it another run.
    """
    config = read_config(run)
    config["plugins"] = check_plugins(run, config)
    typed = _typed(run, config, words)
    if more := [name for name in dotted(typed) if name not in (*PLACE_OPTIONS, "plugins")]:
        may = ", ".join(f"--{name}" for name in PLACE_OPTIONS)
        raise UsageError(f"--repeat {run} takes no --{more[0]}; {may} may differ")
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
    # What followed the run is not trained once more, nor put into the place of what it made
    alone = {"repeat": str(run), "next": None, "upsampler_of": None}
    return merge(config, steps, alone, folder_options(repeated), typed)


def _typed(run: Path, config: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """What is typed beside a run, as a config."""
    if not words:
        return {}
    check_plain(run, config)
    check_data(run, config)
    return typed_config(
        words, {name: config[name] for name in ("task", "data", "plugins") if name in config}, run / CONFIG
    )


def exit_status(interrupted: Interrupted) -> int:
    """130 for Ctrl-C, 143 for SIGTERM; 0 of a further process, whose failure would be taken for that of all."""
    return 128 + signal.Signals(interrupted.number).value if is_first() else 0
