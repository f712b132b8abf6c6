"""Types of arguments that several functions of the library share: folders, models, devices."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from helicon.bundle.bundle import Bundle
from helicon.sequence.layout import Layout
from helicon.sources.places import Place, as_place
from helicon.sources.spool import spooled
from helicon.vqvae.storage import CodecBundle

AnyPath = str | os.PathLike[str]
Model = Bundle | CodecBundle | AnyPath  # loaded, or the folder of a run or bundle
Data = AnyPath | Iterable[Any]  # folder, file or place that is elsewhere; or media in memory
Device = Literal["auto", "cpu", "cuda", "mps"]
Numbers = Literal["fp32", "bf16", "int8", "fp64"]  # number format of weights and arithmetic


def as_path(path: AnyPath | None) -> Path | None:
    """Convert a path, as text or path-like, to a Path; None stays None."""
    return Path(path) if path is not None else None


def place_of(data: Data, layouts: Iterable[Layout], cache: Path | None = None) -> Place:
    """Return the place of data; media in memory are written to the cache.

    Args:
        data: path, place that is elsewhere, or iterable of media.
        layouts: `Layout`s that the media are for.
        cache: folder of caches; the user's unless given.

    Returns:
        A Path, or the text of a place that is elsewhere.
    """
    if isinstance(data, str | os.PathLike):
        return as_place(data)
    return spooled(data, [layout.all_slots for layout in layouts], cache)
