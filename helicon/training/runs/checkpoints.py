"""Checkpoints for resuming: written whole or not at all, read without ever running code from them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from helicon.formats.checked import shown
from helicon.formats.files import atomic_write, check_folder, open_regular
from helicon.formats.printable import MOST, printable
from helicon.formats.progress import log
from helicon.training.errors import TrainingError
from helicon.training.runs.checkpoint_pickle import UnsafeError, check_pickle
from helicon.training.runs.checkpoint_zip import read_archive

NAMED = ("last", "best")  # words that stand for a checkpoint of a run
VERSION = re.compile(r"[0-9]+(\.[0-9a-z]+){1,4}([.+-][0-9a-z.]{1,40})?")


class AtomicCheckpointIO(CheckpointIO):
    """torch.save beside the target, flushed to disk, renamed over it; the old file stays until the new one is whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        with atomic_write(path) as temporary:
            try:
                with temporary.open("wb") as file:
                    torch.save(checkpoint, file)
            except RuntimeError as error:  # PyTorch's writer, which says nothing of a full disk
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
    """Tensors and plain values of a checkpoint, on CPU. TrainingError when it is damaged or would run code."""
    name = printable(path)
    try:
        with open_regular(path, links=False) as file:
            check_pickle(*read_archive(file))
            file.seek(0)
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)  # what was checked
    except FileNotFoundError:
        raise TrainingError(f"{name}: no such checkpoint") from None
    except UnsafeError:
        accepted = "only tensors and plain values are accepted"
        raise TrainingError(
            f"{name}: refused, the file holds objects that would run code when loaded; {accepted}"
        ) from None
    except Exception as error:  # whatever a reader of zip files and pickles comes upon in bytes that are neither
        strerror = error.strerror if isinstance(error, OSError) else None
        reason = printable(strerror or str(error) or type(error).__name__, MOST)
        raise TrainingError(f"{name}: refused, damaged or no checkpoint ({reason})") from None
    state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise TrainingError(f"{name}: refused, not a training checkpoint")
    settings = checkpoint.get("hyper_parameters", {})
    if not isinstance(settings, dict) or "_instantiator" in settings:
        raise TrainingError(f"{name}: refused, its hyperparameters name code to run (_instantiator)")
    return checkpoint


def latest_checkpoint(run: Path) -> tuple[Path, list[str]]:
    """The newest checkpoint of a run that can be read, and what is wrong with newer ones; TrainingError if none can."""
    if os.path.lexists(run / "checkpoints"):
        try:
            check_folder(run / "checkpoints", named=False)
        except OSError as error:
            raise TrainingError(f"{printable(error.filename)}: {error.strerror}") from None
    # A name with a dot before it is a file that was never finished
    found = [path for path in (run / "checkpoints").glob("*.ckpt") if not path.name.startswith(".")]
    found.sort(key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)
    faults = []
    for path in found:
        try:
            read_checkpoint(path)
            return path, faults
        except TrainingError as fault:
            faults.append(str(fault))
    raise TrainingError(
        "; ".join(faults) if faults else f"{run}: no checkpoint to resume from in {run / 'checkpoints'}"
    )


def named_checkpoint(name: str, runs: Sequence[Path]) -> Path:
    """What `--ckpt_path last` or `best` stands for.

    Args:
        name: `last` is the newest checkpoint that can be read; `best` the one that a ModelCheckpoint among the run's
            callbacks has found to be the best, as the newest checkpoint says.
        runs: folders that may be the run, the likeliest first.

    Raises:
        TrainingError: for no run, one without checkpoints, and `best` of a run that has kept none.
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
    found = [Path(str(state.get("best_model_path") or run)) for state in states if isinstance(state, dict)]
    # A run may be somebody else's: nothing outside of it is opened
    inside = [path for path in found if path.is_file() and path.resolve().is_relative_to(run.resolve())]
    if not inside:
        raise TrainingError(
            f"--ckpt_path best: no ModelCheckpoint among the callbacks of {printable(run)} has kept one there; the "
            f"weights of its best held-out loss are in {printable(run / 'model')}, which helicon eval measures"
        )
    return inside[0]
