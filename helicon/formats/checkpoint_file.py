"""Checkpoint files of `torch.save`, checked before they are opened: plain values and tensors alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from helicon.formats.checkpoint_pickle import UnsafeError, check_pickle
from helicon.formats.checkpoint_zip import read_archive
from helicon.formats.files import open_regular
from helicon.formats.printable import MAX_QUOTED, printable


class CheckpointError(ValueError):
    """A file that is damaged, no checkpoint, or could run code when loaded; the message is one line with its path."""


def load_checkpoint(path: Path, links: bool = False) -> Any:
    """Read a checkpoint file.

    Args:
        path: of the file.
        links: True if it may be a link, as in the cache of the Hugging Face Hub.

    Returns:
        Its content: plain values, and tensors on the CPU.

    Raises:
        CheckpointError: the file is damaged, no checkpoint, or could run code when loaded.
        FileNotFoundError: there is no such file.
    """
    name = printable(path)
    try:
        with open_regular(path, links=links) as file:
            check_pickle(*read_archive(file))
            file.seek(0)
            return torch.load(file, map_location="cpu", weights_only=True)  # the open file that was checked
    except FileNotFoundError:
        raise
    except UnsafeError:
        accepted = "only tensors and plain values are accepted"
        raise CheckpointError(
            f"{name}: refused, the file holds objects that would run code when loaded; {accepted}"
        ) from None
    except Exception as error:  # readers of zip files and pickles raise errors of many types for damaged bytes
        strerror = error.strerror if isinstance(error, OSError) else None
        reason = printable(strerror or str(error) or type(error).__name__, MAX_QUOTED)
        raise CheckpointError(f"{name}: refused, damaged or no checkpoint ({reason})") from None
