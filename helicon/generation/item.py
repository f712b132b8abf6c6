"""One thing that was made: it writes itself, and shows itself in a notebook."""

from __future__ import annotations

import os
from dataclasses import dataclass
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from helicon.formats.notebook import html_of
from helicon.modalities.base import MODALITIES, Modality


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

    @property
    def suffix(self) -> str:
        """Of the file that `save` writes."""
        return self.modality.suffixes[0]

    def save(self, path: str | os.PathLike[str]) -> list[Path]:
        """Writes the medium, and its previews beside it: a piano roll and a sound of music; gives their paths."""
        path = Path(path)
        with MODALITIES.running(self.modality.name, accepted=(OSError,)):
            self.modality.write(self.media, path)
            return self.modality.preview(self.media, path)

    def _repr_html_(self) -> str:
        """A picture, the largest that there is, a player, or the text itself."""
        if isinstance(self.media, str):
            return f"<pre>{escape(self.media)}</pre>"
        with TemporaryDirectory() as folder:
            path = Path(folder, f"item{self.suffix}")
            shown = html_of([path, *self.save(path)])
        return shown or f"<pre>{escape(repr(self.media))}</pre>"
