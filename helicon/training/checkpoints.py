"""Checkpoints for resuming: written whole or not at all, read without ever running code from them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import CheckpointIO

from helicon.formats.checked import shown
from helicon.formats.files import atomic_write, check_folder, open_regular
from helicon.formats.printable import MOST, printable
from helicon.training.checkpoint_pickle import UnsafeError, check_pickle
from helicon.training.checkpoint_zip import read_archive
from helicon.training.errors import TrainingError

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
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
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
