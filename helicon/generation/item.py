"""Generated item, which writes itself and shows itself in a notebook."""

from __future__ import annotations

import os
from dataclasses import dataclass
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from helicon.formats.notebook import html_of
from helicon.formats.printable import printable
from helicon.modalities.base import MODALITIES, Modality


@dataclass(frozen=True, kw_only=True)
class Item:
    """Generated item.

    Attributes:
        number: of the item; with the seed it determines the uniform numbers.
        media: decoded medium, of the type that the modality has.
        ids: local ids int64 [T] of the target slot.
        modality: the modality that writes the medium.
        score: of the judge, for ranked items; higher is better.
    """

    number: int
    media: Any
    ids: np.ndarray
    modality: Modality
    score: float | None = None

    @property
    def suffix(self) -> str:
        """File suffix of the medium, with the dot, such as `.mid`."""
        return self.modality.suffixes[0]

    def save(self, path: str | os.PathLike[str]) -> list[Path]:
        """Write the medium to a file and, beside it, its previews, such as piano roll and sound of music.

        Args:
            path: of the file.

        Returns:
            Paths of the previews.
        """
        path = Path(path)
        with MODALITIES.running(self.modality.name, accepted=(OSError,)):
            self.modality.write(self.media, path)
            if not path.is_file():
                raise MODALITIES.fault(self.modality.name, f"write gives no file {printable(path.name)}")
            return self.modality.preview(self.media, path)

    def _repr_html_(self) -> str:
        """Show the largest preview, a player, or the text itself."""
        if isinstance(self.media, str):
            return f"<pre>{escape(self.media)}</pre>"
        with TemporaryDirectory() as folder:
            path = Path(folder, f"item{self.suffix}")
            shown = html_of([path, *self.save(path)])
        return shown or f"<pre>{escape(repr(self.media))}</pre>"
