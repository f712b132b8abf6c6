"""Training checkpoints: atomic writes, and reads that never run code from the file."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from helicon.formats.checked import shown
from helicon.formats.checkpoint_file import CheckpointError, load_checkpoint
from helicon.formats.files import atomic_write, check_folder
from helicon.formats.printable import printable
from helicon.formats.progress import log
from helicon.training.errors import TrainingError

CHECKPOINT_WORDS = ("last", "best")  # words that stand for a checkpoint of a run
# Versions as packages have them (2.5.0.post0); Lightning parses any text, and its errors for others are long
VERSION = re.compile(r"[0-9]+(\.[0-9a-z]+){1,4}([.+-][0-9a-z.]{1,40})?")


class AtomicCheckpointIO(CheckpointIO):
    """CheckpointIO that writes a temporary file, syncs it to disk and renames it over the target."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        with atomic_write(path) as temporary:
            try:
                with temporary.open("wb") as file:
                    torch.save(checkpoint, file)
            except RuntimeError as error:  # of PyTorch's zip writer, which hides the OSError of a full disk
                raise error.__context__ if isinstance(error.__context__, OSError) else error from None

    def load_checkpoint(
        self, path: Any, map_location: Callable[..., Any] | Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        checkpoint = read_checkpoint(Path(path))
        version = checkpoint.get("pytorch-lightning_version")  # from which Lightning brings it up to date
        if not isinstance(version, str) or not VERSION.fullmatch(version):
            raise TrainingError(f"{printable(path)}: refused, pytorch-lightning_version {shown(version)} is no version")
        return checkpoint

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint file, a dict of plain values and tensors on the CPU.

    Raises:
        TrainingError: the file is missing or damaged, no training checkpoint, or could run code when loaded.
    """
    name = printable(path)
    try:
        checkpoint = load_checkpoint(path)
    except FileNotFoundError:
        raise TrainingError(f"{name}: no such checkpoint") from None
    except CheckpointError as error:
        raise TrainingError(str(error)) from None
    state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise TrainingError(f"{name}: refused, not a training checkpoint")
    settings = checkpoint.get("hyper_parameters", {})
    if not isinstance(settings, dict) or "_instantiator" in settings:
        raise TrainingError(f"{name}: refused, its hyperparameters name code to run (_instantiator)")
    return checkpoint


def latest_checkpoint(run: Path) -> tuple[Path, list[str]]:
    """Return (path of the newest readable checkpoint in a run's folder, messages why newer ones are unreadable).

    Raises:
        TrainingError: no checkpoint of the run is readable.
    """
    if os.path.lexists(run / "checkpoints"):
        try:
            check_folder(run / "checkpoints", named=False)
        except OSError as error:
            raise TrainingError(f"{printable(error.filename)}: {error.strerror}") from None
    # atomic_write's temporary files begin with a dot: one of these was never finished
    paths = [path for path in (run / "checkpoints").glob("*.ckpt") if not path.name.startswith(".")]
    paths.sort(key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)
    faults = []
    for path in paths:
        try:
            read_checkpoint(path)
            return path, faults
        except TrainingError as fault:
            faults.append(str(fault))
    raise TrainingError(
        "; ".join(faults) if faults else f"{run}: no checkpoint to resume from in {run / 'checkpoints'}"
    )


def named_checkpoint(name: str, runs: Sequence[Path]) -> Path:
    """Resolve `--ckpt_path last` or `best` to a checkpoint file.

    Args:
        name: `last` for the newest readable checkpoint; `best` for the best of a ModelCheckpoint among the run's
            callbacks, as recorded in the newest checkpoint.
        runs: paths that may be the run's folder; the first that exists is taken.

    Returns:
        Path of the checkpoint.

    Raises:
        TrainingError: no run, a run without checkpoints, or `best` of a run without a ModelCheckpoint's file.
    """
    run = next((run for run in runs if run.is_dir()), None)
    if run is None:
        raise TrainingError(f"--ckpt_path {name}: of which run? --config RUN/config.yaml says so, or --runs and --name")
    newest, faults = latest_checkpoint(run)
    for fault in faults:
        log(f"{fault}; taking {newest}")
    if name == "last":
        return newest
    kept = read_checkpoint(newest).get("callbacks")
    named = kept.items() if isinstance(kept, dict) else ()
    states = [state for key, state in named if str(key).startswith("ModelCheckpoint")]
    paths = [Path(str(state.get("best_model_path") or run)) for state in states if isinstance(state, dict)]
    # A run may be somebody else's: nothing outside of it is opened
    inside = [path for path in paths if path.is_file() and path.resolve().is_relative_to(run.resolve())]
    if not inside:
        raise TrainingError(
            f"--ckpt_path best: no ModelCheckpoint among the callbacks of {printable(run)} has kept one there; the "
            f"weights of its best validation loss are in {printable(run / 'model')}, which helicon eval measures"
        )
    return inside[0]
