"""Labels of examples: names of folders, or a manifest's column. They fill the slot `style` of any layout.

Music has a slot `style` of its own, with instruments and tempo beside the label.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from helicon.modalities.base import Modality, TokenizerSpec
from helicon.tokenizers.labels import LabelTokenizer


def read_file(path: Path) -> NoReturn:
    """Refuse to read a path: a label is not in a file. Always raises ValueError."""
    raise ValueError("a label is the name of a folder, or said by a manifest")


def write(media: str, path: Path) -> NoReturn:
    """Refuse to write: a label is not in a file.

    Args:
        media: the label, a text.
        path: of a file that is not written.

    Returns:
        Never.

    Raises:
        ValueError: always.
    """
    raise ValueError("a label is no file")


LABEL = Modality(
    name="label",
    suffixes=(),
    read_file=read_file,
    write=write,
    slots={
        "style": {
            "labels": TokenizerSpec(
                make=LabelTokenizer.fit, from_state=LabelTokenizer.from_state, extend_vocabulary=LabelTokenizer.grow
            )
        }
    },
)
