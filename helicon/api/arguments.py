"""Types of arguments that several functions of the library share: folders, models, devices."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from helicon.bundle.bundle import Bundle
from helicon.vqvae.storage import CodecBundle

AnyPath = str | os.PathLike[str]
Model = Bundle | CodecBundle | AnyPath  # loaded, or the folder of a run or bundle
Device = Literal["auto", "cpu", "cuda", "mps"]
Numbers = Literal["fp32", "bf16", "int8", "fp64"]  # number format of weights and arithmetic


def as_path(path: AnyPath | None) -> Path | None:
    """Convert a path, as text or path-like, to a Path; None stays None."""
    return Path(path) if path is not None else None
