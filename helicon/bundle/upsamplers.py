"""Upsamplers: bundles inside a bundle, each of which continues from the codes of a coarser level.

They are copied file by file into a subfolder named by the number of their level.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from helicon.bundle.storage import CONFIG, TOKENIZER_WEIGHTS, WEIGHTS, BundleError, check_bundle, read_config
from helicon.formats.checked import integer, notes_of
from helicon.formats.files import open_regular
from helicon.formats.printable import printable
from helicon.formats.temporary import clear_abandoned, remove_temporary, temporary_path
from helicon.modalities import registry

UPSAMPLERS = "upsamplers"  # subfolder of a bundle: a bundle for each finer level, named by its number
MAX_LEVELS = 32  # of a bundle; the configs of codecs allow 8


def upsamplers_of(folder: Path) -> list[Path]:
    """Return the folders of the upsamplers in a bundle folder, coarsest first; [] without any.

    Raises:
        BundleError: too many files in their folder, or links.
    """
    parent = folder / UPSAMPLERS
    if not os.path.lexists(parent):
        return []
    check_bundle(parent, named=False, most=MAX_LEVELS)
    levels = {str(level): level for level in range(MAX_LEVELS)}
    folders = [path for path in parent.iterdir() if path.name in levels and (path / CONFIG).is_file()]
    return sorted(folders, key=lambda path: -levels[path.name])


def attach_bundle(source: Path, folder: Path, level: int) -> Path:
    """Copy the files of a bundle into another as its upsampler to a level, atomically.

    Other files beside them are not copied. An upsampler that is there already is replaced by one of the same run only.

    Args:
        source: bundle folder of the upsampler.
        folder: bundle folder that it is attached to.
        level: number of the codec's level that it generates, 0 the finest.

    Returns:
        Folder of the copy.

    Raises:
        BundleError: the upsampler of another run is there, or the source is damaged or has links.
    """
    check_bundle(source)
    slots = read_config(source / CONFIG).get("tokenizers", {})
    names = [TOKENIZER_WEIGHTS.format(slot=slot) for slot in slots if registry.is_slot(slot)]
    names = [CONFIG, WEIGHTS, *(name for name in names if (source / name).exists())]
    target = folder / UPSAMPLERS / str(integer("level", level, 0, MAX_LEVELS - 1))
    runs = [notes_of(read_config(place / CONFIG)).get("run") for place in (source, target) if place.exists()]
    if len(runs) > 1 and runs[0] != runs[1]:
        raise BundleError(f"{target}: holds the upsampler of {printable(runs[1], 80)}, not of {printable(runs[0], 80)}")
    clear_abandoned(target.parent)
    temporary, before = temporary_path(target), temporary_path(target)
    try:
        temporary.mkdir(parents=True)
        for name in names:
            with open_regular(source / name, links=False) as theirs, open(temporary / name, "xb") as ours:
                shutil.copyfileobj(theirs, ours, 1 << 20)
        if target.exists():
            os.replace(target, before)
        os.replace(temporary, target)
    finally:
        if before.exists() and not target.exists():
            os.replace(before, target)
        remove_temporary(temporary)
        remove_temporary(before)
    return target
