"""Checkpoints for resuming: written whole or not at all, read without ever running code from them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from helicon.formats.files import atomic_write
from helicon.training.errors import TrainingError


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
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Tensors and plain values of a checkpoint, on CPU. TrainingError when it is damaged or would run code."""
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise TrainingError(f"{path}: no such checkpoint") from None
    except pickle.UnpicklingError as error:
        reason = "holds objects that would run code when loaded; only tensors and plain values are accepted"
        if "Unsupported global" not in str(error) and "unsupported" not in str(error).lower():
            reason = "is damaged"
        raise TrainingError(f"{path}: refused, the file {reason}") from None
    except Exception as error:  # whatever a reader of zip files and pickles comes upon in bytes that are neither
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise TrainingError(f"{path}: damaged or no checkpoint ({reason})") from None
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise TrainingError(f"{path}: refused, not a training checkpoint")
    if "_instantiator" in checkpoint.get("hyper_parameters", {}):
        raise TrainingError(f"{path}: refused, its hyperparameters name code to run (_instantiator)")
    return checkpoint


def latest_checkpoint(run: Path) -> tuple[Path, list[str]]:
    """The newest checkpoint of a run that can be read, and what is wrong with newer ones; TrainingError if none can."""
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
