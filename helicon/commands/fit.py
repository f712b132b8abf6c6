"""`fit`, `validate`, `test`, `prepare`: LightningCLI's arguments, our run folders."""

from __future__ import annotations

import sys
import warnings

from helicon.cli import CommandError
from helicon.training.callbacks import Interrupted
from helicon.training.run import UsageError, exit_status, run_lightning


def quiet() -> None:
    """Silences advice of Lightning's that does not apply to endless, seeded, memory-mapped batches."""
    import logging

    for pattern in (".*does not have many workers.*", ".*IterableDataset.*", ".*isinstance.treespec.*", ".*args parameter is intended.*"):
        warnings.filterwarnings("ignore", pattern)
    warnings.filterwarnings("ignore", category=FutureWarning)
    for name in ("pytorch_lightning", "lightning.pytorch", "pytorch_lightning.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)


def lightning(command: str, args: list[str]) -> int:
    """Runs one of LightningCLI's commands."""
    quiet()
    try:
        run = run_lightning(command, args)
    except UsageError as error:
        raise CommandError(str(error)) from error
    except Interrupted as stop:
        run = stop.checkpoint.parent.parent
        print(f"{stop}; go on with: helicon train --resume {run}", file=sys.stderr)
        return exit_status(stop)
    if command == "fit":
        print(f"model      {run / 'model'}\nnext       helicon generate {run} -n 4 -o out", file=sys.stderr)
    return 0
