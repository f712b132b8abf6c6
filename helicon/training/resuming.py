"""Going on with a run from its newest checkpoint, or making it once more: configs that come of the run's own."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from helicon.formats.printable import print_text
from helicon.training.checkpoints import latest_checkpoint
from helicon.training.errors import TrainingError
from helicon.training.folders import check_own_files, choose_run, named, read_config
from helicon.training.options import Config, dotted, merge
from helicon.training.processes import is_first
from helicon.training.record import read_record
from helicon.training.stopping import Interrupted
from helicon.training.trust import check_config, check_data, check_start


def resumed_config(run: Path, typed: Config | None = None, upsampler_of: Path | None = None) -> dict[str, Any]:
    """Returns the config that goes on with a run from its newest readable checkpoint; says so if that is not the last.

    Args:
        run: folder of a run.
        typed: options that count in the place of the run's own.
        upsampler_of: run that was typed as the one that the upsampler is for.

    Raises:
        TrainingError: for a config that could run code, or asks for more than a run may.
    """
    config, typed = read_config(run), typed or {}
    check_config(run, config, upsampler_of, dotted(typed))
    check_data(run, config)
    check_own_files(run)
    checkpoint, faults = latest_checkpoint(run)
    for fault in faults:
        print_text(f"{fault}; going on from {checkpoint}", sys.stderr)
    return merge(config, named(run), {"ckpt_path": str(checkpoint)}, typed)


def repeated_config(
    run: Path, runs: Path | None = None, name: str | None = None, typed: Config | None = None
) -> dict[str, Any]:
    """Returns the config that makes a run once more, by its steps rather than its minutes: beside it unless told.

    Args:
        run: folder of a run.
        runs: folder of the new one.
        name: name of the new one.
        typed: options that count in the place of the run's own.

    Raises:
        TrainingError: for a config that could run code, or a run without a step.
    """
    config, typed = read_config(run), typed or {}
    check_config(run, config | {"upsampler_of": None}, typed=dotted(typed))
    check_data(run, config)
    check_start(run, config, dotted(typed))
    check_own_files(run)
    record = read_record(run)
    if not record.steps:
        raise TrainingError(f"{run}: there is no step yet that could be repeated")
    repeated = choose_run(runs or run.parent, name, f"{Path(os.path.abspath(run)).name}-repeat")
    steps = {"trainer": {"max_steps": record.steps, "max_time": None}}
    # What followed the run is not trained once more, nor put into the place of what it made
    alone = {"repeat": str(run), "next": None, "upsampler_of": None}
    return merge(config, steps, alone, named(repeated), typed)


def exit_status(interrupted: Interrupted) -> int:
    """130 for Ctrl-C, 143 for SIGTERM; 0 of a further process, whose failure would be taken for that of all."""
    return 128 + signal.Signals(interrupted.number).value if is_first() else 0
