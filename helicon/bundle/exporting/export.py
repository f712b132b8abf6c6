"""A bundle to what other programs read."""

from __future__ import annotations

from pathlib import Path

from helicon.bundle.bundle import Bundle
from helicon.bundle.exporting.families import ExportFamily
from helicon.bundle.exporting.folder import write_folder
from helicon.bundle.exporting.gguf import write_gguf
from helicon.bundle.exporting.plain import PlainGPT
from helicon.bundle.exporting.refusals import ExportingError, family_of
from helicon.formats.nearest import unknown

WRITERS = {"hf": write_folder, "gguf": write_gguf}


def export_bundle(bundle: Bundle, folder: Path, to: str = "hf") -> type[ExportFamily]:
    """Writes a model for another program; gives the family that it is of.

    Args:
        bundle: the model.
        folder: gets the files.
        to: `hf`, a folder of transformers, or `gguf`, a file of llama.cpp.

    Raises:
        ExportingError: for a model that the program cannot compute, with the options that prevent it; nothing is
            written then.
    """
    if to not in WRITERS:
        raise ExportingError(unknown("to", to, WRITERS))
    family = family_of(bundle)
    WRITERS[to](PlainGPT.of(bundle), family, folder)
    return family
