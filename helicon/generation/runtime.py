"""Runtime of a model: device and number format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from helicon.bundle.bundle import Bundle
from helicon.bundle.storage import load_bundle
from helicon.formats.printable import printable
from helicon.generation.request import RequestError
from helicon.gpt.numbers import NotFiniteError, cast


@dataclass(frozen=True)
class RuntimeConfig:
    """Device and number format of models.

    Attributes:
        device: of weights and KV cache.
        numbers: key of `helicon.gpt.numbers.FORMATS`.
    """

    device: torch.device
    numbers: str = "fp32"

    def load(self, folder: Path) -> Bundle:
        """Load the `Bundle` of a bundle or run folder onto the device, in the number format."""
        bundle = load_bundle(folder, self.device)
        cast(bundle.gpt, self.numbers)
        return bundle


@contextmanager
def naming_model(folder: str) -> Iterator[None]:
    """Prefix a NotFiniteError raised in the `with` block with the folder of the model."""
    try:
        yield
    except NotFiniteError as error:
        raise NotFiniteError(f"{printable(folder)}: {error}") from error


def choose_device(name: str, numbers: str = "fp32") -> torch.device:
    """Choose a device; `auto` takes CUDA, else Apple's MPS (which has no fp64), else the CPU.

    Args:
        name: `auto`, `cuda`, `mps` or `cpu`.
        numbers: number format, a key of `helicon.gpt.numbers.FORMATS`.

    Returns:
        The `torch.device`.

    Raises:
        RequestError: the device is not on this machine, or lacks the number format.
    """
    mps = torch.backends.mps.is_available() and numbers != "fp64"
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": mps}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if available[kind]))
    if not available.get(name, False):
        names = ", ".join(kind for kind in available if available[kind])
        raise RequestError(f"--device {name}: not on this machine, or not in {numbers}; there is: {names}")
    return torch.device(name)
