"""Bundles inside a bundle: each goes on where one of a coarser level ends.

They lie in a folder of it, named by the number of their level, and are copied there file by file.
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

UPSAMPLERS = "upsamplers"  # folder of a bundle: a bundle for each finer level, named by its number
MOST_LEVELS = 32


def upsamplers_of(folder: Path) -> list[Path]:
    """Bundles that go on where one of a coarse level ends, the coarsest of them first. BundleError for too many."""
    there = folder / UPSAMPLERS
    if not os.path.lexists(there):
        return []
    check_bundle(there, named=False, most=MOST_LEVELS)
    levels = {str(level): level for level in range(MOST_LEVELS)}
    found = [path for path in there.iterdir() if path.name in levels and (path / CONFIG).is_file()]
    return sorted(found, key=lambda path: -levels[path.name])


def attach_bundle(source: Path, folder: Path, level: int) -> Path:
    """Copies a bundle's own files into another as its upsampler to a level, whole or not at all; gives its place.

    Nothing else that lies beside them is copied. One that is there already is replaced by a later state of the same run
    alone. BundleError for another's, and for a bundle that cannot be read, or holds links.
    """
    check_bundle(source)
    slots = read_config(source / CONFIG).get("tokenizers", {})
    names = [TOKENIZER_WEIGHTS.format(slot=slot) for slot in slots if registry.is_slot(slot)]
    names = [CONFIG, WEIGHTS, *(name for name in names if (source / name).exists())]
    target = folder / UPSAMPLERS / str(integer("level", level, 0, MOST_LEVELS - 1))
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
