"""Export of a bundle to the files of another program."""

from __future__ import annotations

from pathlib import Path

from helicon.bundle.bundle import Bundle
from helicon.bundle.exporting.families import ExportFamily
from helicon.bundle.exporting.folder import write_folder
from helicon.bundle.exporting.gguf import write_gguf
from helicon.bundle.exporting.plain import PlainGPT
from helicon.bundle.exporting.refusals import ExportingError, family_of
from helicon.formats.nearest import unknown

WRITERS = {"hf": write_folder, "gguf": write_gguf}  # word of `--to` -> what writes it


def export_bundle(bundle: Bundle, folder: Path, to: str = "hf") -> type[ExportFamily]:
    """Write a model for another program.

    Args:
        bundle: `Bundle`, the model.
        folder: receives the files.
        to: `hf`, a transformers folder, or `gguf`, a file of llama.cpp.

    Returns:
        The class of the family that the model belongs to, `GPT2` or `Llama`.

    Raises:
        ExportingError: the program cannot compute the model, with the options that prevent it; nothing is written.
    """
    if to not in WRITERS:
        raise ExportingError(unknown("to", to, WRITERS))
    family = family_of(bundle)
    WRITERS[to](PlainGPT.of(bundle), family, folder)
    return family
