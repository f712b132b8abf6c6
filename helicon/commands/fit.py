"""`helicon fit`, `validate`, `test` and `prepare`: LightningCLI's commands and arguments, with run folders."""

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
from helicon.training.settings.mixed_paths import with_sources
from helicon.training.stopping import Interrupted
from helicon.training.tasks import TrainConfig
from helicon.vqvae.storage import find_codec


def quiet() -> None:
    """Silence Lightning's advice that does not apply to endless, seeded, memory-mapped batches."""
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
    """Run one of LightningCLI's commands; if a signal stops it, print the command that resumes it.

    Args:
        command: `fit`, `validate`, `test` or `prepare`.
        args: words of a command line after the command, a `Config` (dict), or a parsed `TrainConfig`.
        data: Lightning data module; None to make that of the config.
        more: words of options that the resuming command repeats.

    Returns:
        The HeliconCLI, None if stopped, and the exit status: 0, or 130 (SIGINT) or 143 (SIGTERM).
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
    """Run `helicon fit` or another of LightningCLI's commands.

    Args:
        command: `fit`, `validate`, `test` or `prepare`.
        args: words of the command line after it.

    Returns:
        Exit status: 0, or 130 or 143 if a signal stopped it.
    """
    path, words = with_sources(args)
    cli, status = run_or_stop(command, [*words, *([f"--data.path={path}"] if path else [])])
    run = cli.run_folder if cli else Path()
    if command == "fit" and not status and is_first() and (run / "model").is_dir():  # a fast_dev_run saves none
        print_text(f"model      {run / 'model'}\nnext       {usage_command(run)}", sys.stderr)
    return status


def usage_command(run: Path) -> str:
    """Return the command that uses the model or codec of a run folder, such as `helicon generate RUN -n 4`."""
    use = "reconstruct {run} FILE... -o out" if find_codec(run) else load_bundle(run).objective.use
    words = [shlex.quote(str(run)) if word == "{run}" else word for word in use.split()]
    return " ".join(["helicon", *words, shlex.join(plugin_words())]).rstrip()
