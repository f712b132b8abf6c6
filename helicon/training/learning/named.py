"""Tokenizers by name: a kind of one, or the codec of a run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from helicon.bundle.storage import BundleError, find_bundle, load_bundle
from helicon.data.files import DataError
from helicon.modalities import registry
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.codec import CodecTokenizer

_AT_LEVEL = re.compile(r"(.+?)(?:@(\d+))?")


def named_tokenizer(slots: Sequence[str], name: str | None) -> dict[str, str]:
    """The one slot that a tokenizer of that name, or a codec at that path, is for; DataError where it is not one."""
    if name is None:
        return {}
    known = {slot: registry.specs(slot, slots) for slot in slots}
    found = [slot for slot in slots if name in known[slot] or codec_tokenizer(slot, name)]
    if len(found) != 1:
        names = sorted({kind for kinds in known.values() for kind in kinds})
        what = "no run of a codec" if not found else f"for more than one of {', '.join(found)}; say --data.tokenizers"
        raise DataError(f"--data.tokenizer {name}: {what}; there are {', '.join(names)}, or a run of a codec")
    return {found[0]: name}


def codec_tokenizer(slot: str, name: str) -> tuple[str, Tokenizer] | None:
    """(kind, tokenizer) of a codec's run or bundle, or of a model that has one, unless `name` is that of a kind.

    `RUN@N` is level N of a codec of sound.
    """
    if name in registry.specs(slot):
        return None
    return registry.open_tokenizer(slot, Path(name)) or _of_model(slot, name)


def _of_model(slot: str, name: str) -> tuple[str, Tokenizer] | None:
    """That of a model which has a codec for a slot of the same medium."""
    match = _AT_LEVEL.fullmatch(name)
    try:
        folder = find_bundle(Path(match[1])) if match else None
    except BundleError:
        return None
    if match is None or folder is None:
        return None
    bundle = load_bundle(folder)
    for theirs, tokenizer in bundle.sequencer.tokenizers.items():
        if isinstance(tokenizer, CodecTokenizer) and slot in registry.for_slot(theirs, bundle.tokenizer_names).slots:
            return bundle.tokenizer_names[theirs], tokenizer.at_level(int(match[2]) if match[2] else -1, slot)
    return None
