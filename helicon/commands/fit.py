"""`fit`, `validate`, `test`, `prepare`: LightningCLI's arguments, our run folders."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path

from helicon.cli import CommandError
from helicon.formats.printable import print_text
from helicon.training.processes import is_first
from helicon.training.run import UsageError, exit_status, run_lightning
from helicon.training.stopping import Interrupted
from helicon.vqvae.storage import find_codec


def quiet() -> None:
    """Silences advice of Lightning's that does not apply to endless, seeded, memory-mapped batches."""
    import logging

    advice = ("does not have many workers", "IterableDataset", "isinstance.treespec", "args parameter is", "sync_dist")
    advice += ("callbacks used to create the checkpoint", "overriding `LightningModule.optimizer_")
    advice += ("was called before the ``update`` method",)
    for pattern in advice:
        warnings.filterwarnings("ignore", f".*{pattern}.*")
    warnings.filterwarnings("ignore", category=FutureWarning)
    for name in ("pytorch_lightning", "lightning.pytorch", "pytorch_lightning.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)


def run_or_stop(
    command: str, args: list[str], more: Sequence[str] = (), heeded: Collection[str] = ()
) -> tuple[Path, int]:
    """Runs one of LightningCLI's commands: the run folder, and 0, or 130 or 143 if it was told to stop.

    more: what `train --resume RUN` has to be told to go on with the same. heeded: options that the caller goes by.
    """
    quiet()
    try:
        return run_lightning(command, args, heeded), 0
    except UsageError as error:
        raise CommandError(str(error)) from error
    except Interrupted as stop:
        run = stop.checkpoint.parent.parent
        if is_first():
            again = shlex.join(["helicon", "train", "--resume", str(run), *more])
            print_text(f"{stop}; go on with: {again}", sys.stderr)
        return run, exit_status(stop)


def lightning(command: str, args: list[str]) -> int:
    """Runs one of LightningCLI's commands from the command line."""
    run, status = run_or_stop(command, args)
    if command == "fit" and not status and is_first() and (run / "model").is_dir():  # not of a fast_dev_run
        codec = find_codec(run)
        after = f"helicon reconstruct {run} FILE... -o out" if codec else f"helicon generate {run} -n 4 -o out"
        print_text(f"model      {run / 'model'}\nnext       {after}", sys.stderr)
    return status
