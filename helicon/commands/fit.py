"""`fit`, `validate`, `test`, `prepare`: LightningCLI's arguments, our run folders."""

from __future__ import annotations

import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from helicon.bundle.storage import load_bundle
from helicon.formats.printable import print_text
from helicon.plugins.loading import words as plugin_words
from helicon.presets import Config
from helicon.training.processes import is_first
from helicon.training.resuming import exit_status
from helicon.training.run import run_lightning
from helicon.training.stopping import Interrupted
from helicon.training.tasks import TrainConfig
from helicon.vqvae.storage import find_codec


def quiet() -> None:
    """Silences advice of Lightning's that does not apply to endless, seeded, memory-mapped batches."""
    import logging

    advice = ("does not have many workers", "IterableDataset", "isinstance.treespec", "sync_dist")
    advice += ("callbacks used to create the checkpoint", "overriding `LightningModule.optimizer_")
    advice += ("was called before the ``update`` method",)
    for pattern in advice:
        warnings.filterwarnings("ignore", f".*{pattern}.*")
    warnings.filterwarnings("ignore", category=FutureWarning)
    for name in ("pytorch_lightning", "lightning.pytorch", "pytorch_lightning.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)


def run_or_stop(
    command: str, args: Sequence[str] | Config | TrainConfig, data: Any = None, more: Sequence[str] = ()
) -> tuple[Any, int]:
    """Runs one of LightningCLI's commands.

    Args:
        command: one of them.
        args: options as they are typed, a config, or one that is parsed already.
        data: the data module, where it is made already.
        more: what `train --resume RUN` has to be told to go on with the same.

    Returns:
        What ran, None where it was told to stop, and the exit status: 0, or then 130 or 143.
    """
    quiet()
    try:
        return run_lightning(command, args, data), 0
    except Interrupted as stop:
        run = stop.checkpoint.parent.parent
        if is_first():
            again = shlex.join(["helicon", "train", "--resume", str(run), *plugin_words(), *more])
            print_text(f"{stop}; go on with: {again}", sys.stderr)
        return None, exit_status(stop)


def lightning(command: str, args: list[str]) -> int:
    """Runs one of LightningCLI's commands from the command line."""
    cli, status = run_or_stop(command, args)
    run = cli.run_folder if cli else Path()
    if command == "fit" and not status and is_first() and (run / "model").is_dir():  # not of a fast_dev_run
        print_text(f"model      {run / 'model'}\nnext       {using(run)}", sys.stderr)
    return status


def using(run: Path) -> str:
    """The command that uses what a run has trained."""
    use = "reconstruct {run} FILE... -o out" if find_codec(run) else load_bundle(run).objective.use
    words = [shlex.quote(str(run)) if word == "{run}" else word for word in use.split()]
    return " ".join(["helicon", *words, shlex.join(plugin_words())]).rstrip()
