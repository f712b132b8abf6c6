"""What an example is labelled with: its folder's name, or what a manifest says. It is the slot `style` of any layout.

Music has a slot of that name of its own, which also says instruments and tempo.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from helicon.modalities.base import Modality, TokenizerSpec
from helicon.tokenizers.labels import LabelTokenizer


def read_file(path: Path) -> NoReturn:
    """A label is not in a file."""
    raise ValueError("a label is the name of a folder, or said by a manifest")


def write(media: str, path: Path) -> NoReturn:
    """A label is not in a file."""
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
