"""One thing that was made: it writes itself, and shows itself in a notebook."""

from __future__ import annotations

import os
from base64 import b64encode
from dataclasses import dataclass
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from helicon.modalities.base import Modality

SHOWN = {".png": "image/png", ".jpg": "image/jpeg", ".wav": "audio/wav", ".flac": "audio/flac"}  # by a browser


@dataclass(frozen=True, kw_only=True)
class Item:
    """One result: its number, the medium, the local ids it was decoded from, and the modality that can write it.

    score: how well it fits what was given, of items that were ranked.
    """

    number: int
    media: Any
    ids: np.ndarray
    modality: Modality
    score: float | None = None

    def save(self, path: str | os.PathLike[str]) -> list[Path]:
        """Writes the medium, and its previews beside it: a piano roll and a sound of music; gives their paths."""
        path = Path(path)
        self.modality.write(self.media, path)
        return self.modality.preview(self.media, path)

    def _repr_html_(self) -> str:
        """A picture, the largest that there is, a player, or the text itself."""
        if isinstance(self.media, str):
            return f"<pre>{escape(self.media)}</pre>"
        with TemporaryDirectory() as folder:
            path = Path(folder, f"item{self.modality.suffixes[0]}")
            shown = [path, *self.save(path)]
            sounds = [_tag(each) for each in shown if shown_as(each) == "audio"]
            pictures = [_tag(each) for each in shown if shown_as(each) == "image"]
        return "<br>".join([*pictures[-1:], *sounds[:1]]) or f"<pre>{escape(repr(self.media))}</pre>"


def shown_as(path: Path) -> str:
    """`image` or `audio` for a file that a browser shows or plays, else nothing."""
    return SHOWN.get(path.suffix, "").partition("/")[0]


def _tag(path: Path) -> str:
    """An element that has the whole file in it."""
    kind = SHOWN[path.suffix]
    data = f"data:{kind};base64,{b64encode(path.read_bytes()).decode()}"
    return f'<audio controls src="{data}"></audio>' if shown_as(path) == "audio" else f'<img src="{data}">'
