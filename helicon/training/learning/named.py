"""Tokenizers of `--data.tokenizer(s)` by name: a registered one, or the codec of a run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from helicon.bundle.storage import CONFIG as BUNDLE_CONFIG
from helicon.bundle.storage import BundleError, find_bundle, load_bundle
from helicon.data.files import DataError
from helicon.formats.json_files import read_json
from helicon.formats.validation import ValidationRecord, restore_record
from helicon.modalities import registry
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.codec import CodecTokenizer
from helicon.vqvae.storage import CONFIG as CODEC_CONFIG
from helicon.vqvae.storage import find_codec

# Path, then perhaps a level of the codec
_AT_LEVEL = re.compile(r"(.+?)(?:@(\d+))?")


def named_tokenizer(slots: Sequence[str], name: str | None) -> dict[str, str]:
    """Find the slot that `--data.tokenizer` is for.

    Args:
        slots: names of those of all layouts.
        name: of a tokenizer, or path of a codec's run; None for no option.

    Returns:
        {slot: name}; {} for None.

    Raises:
        DataError: no slot has such a tokenizer, or several have.
    """
    if name is None:
        return {}
    known = {slot: registry.specs(slot, slots) for slot in slots}
    matches = [slot for slot in slots if name in known[slot] or codec_tokenizer(slot, name)]
    if len(matches) != 1:
        names = sorted({kind for kinds in known.values() for kind in kinds})
        several = f"for more than one of {', '.join(matches)}; say --data.tokenizers"
        what = several if matches else "no run of a codec"
        raise DataError(f"--data.tokenizer {name}: {what}; there are {', '.join(names)}, or a run of a codec")
    return {matches[0]: name}


def codec_tokenizer(slot: str, name: str) -> tuple[str, Tokenizer] | None:
    """Load the tokenizer of a codec.

    Args:
        slot: name of the slot that it is for.
        name: path of the run or bundle of a codec, or of a model whose tokenizer is a codec; `RUN@N` is level N of a
            sound codec.

    Returns:
        (name in the registry, tokenizer); None if `name` is of a registered tokenizer, or no codec for this slot.
    """
    if name in registry.specs(slot):
        return None
    return registry.open_tokenizer(slot, Path(name)) or _tokenizer_of_model(slot, name)


def record_at(name: str) -> ValidationRecord:
    """Read the `ValidationRecord` of a codec or model, from the path of its run or bundle; `RUN@N` as for a tokenizer.

    Raises:
        ValueError: there is none, or a damaged one.
    """
    match = _AT_LEVEL.fullmatch(name)
    path = Path(match[1] if match else name)
    codec = find_codec(path)
    config = codec / CODEC_CONFIG if codec else find_bundle(path) / BUNDLE_CONFIG
    return restore_record(read_json(config, links=False).get("validation"))


def _tokenizer_of_model(slot: str, name: str) -> tuple[str, Tokenizer] | None:
    """Return name and codec tokenizer of a model's slot of the same medium; None without any."""
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
