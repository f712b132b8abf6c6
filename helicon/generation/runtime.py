"""What a model runs on, and in which number format."""

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
from helicon.gpt.numbers import NotFiniteError, convert


@dataclass(frozen=True)
class RuntimeConfig:
    """What models run on, and in which of the number formats of gpt/numbers.py."""

    device: torch.device
    numbers: str = "fp32"

    def load(self, folder: Path) -> Bundle:
        """A bundle there."""
        bundle = load_bundle(folder, self.device)
        convert(bundle.gpt, self.numbers)
        return bundle


@contextmanager
def naming_model(folder: str) -> Iterator[None]:
    """While it lasts, what a model fails by names where it is."""
    try:
        yield
    except NotFiniteError as error:
        raise NotFiniteError(f"{printable(folder)}: {error}") from error


def choose_device(name: str, numbers: str = "fp32") -> torch.device:
    """`auto` is CUDA, else Apple's MPS, which has no fp64, else the CPU; RequestError when there is none as asked for.

    numbers: one of the formats of gpt/numbers.py.
    """
    mps = torch.backends.mps.is_available() and numbers != "fp64"
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": mps}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if there[kind]))
    if not there.get(name, False):
        found = ", ".join(kind for kind in there if there[kind])
        raise RequestError(f"--device {name}: not on this machine, or not in {numbers}; there is: {found}")
    return torch.device(name)
