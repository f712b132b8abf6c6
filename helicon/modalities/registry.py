"""All modalities: those of the entry-point group `helicon.modalities`, and those registered by hand."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from torch import Tensor

from helicon.modalities.base import Modality, TokenizerKind
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.names import unknown

GROUP = "helicon.modalities"
_by_hand: dict[str, Modality] = {}


def register(modality: Modality) -> Modality:
    """Adds a modality for this process, in place of another of its name. Returned, so that a module can keep it."""
    _by_hand[modality.name] = modality
    return modality


def all_modalities() -> dict[str, Modality]:
    """Name -> modality, in order of name; one registered by hand goes before an installed one."""
    return dict(sorted({**_installed(), **_by_hand}.items()))


def get(name: str) -> Modality:
    """The modality of that name; ValueError names those nearest to it."""
    modalities = all_modalities()
    if name not in modalities:
        raise ValueError(unknown("modality", name, modalities))
    return modalities[name]


def for_slot(slot: str) -> Modality:
    """The modality that has a slot; ValueError names the slots nearest to it."""
    owners = {name: modality for modality in all_modalities().values() for name in modality.slots}
    if slot not in owners:
        raise ValueError(unknown("slot", slot, owners))
    return owners[slot]


def factory(slot: str, name: str) -> TokenizerKind:
    """The kind of tokenizer of that name for a slot; ValueError names those that there are."""
    kinds = for_slot(slot).slots[slot]
    if name not in kinds:
        raise ValueError(unknown(f"tokenizer for {slot}", name, kinds))
    return kinds[name]


def restored(slot: str, name: str, state: dict[str, Any], weights: Mapping[str, Tensor] | None = None) -> Tokenizer:
    """The tokenizer of that name whose `state()`, and `weights()` if it has any, these were."""
    kind = factory(slot, name)
    return kind.from_state(state, weights) if weights else kind.from_state(state)


def opened(slot: str, path: Path, device: Any = "cpu") -> tuple[str, Tokenizer] | None:
    """(name of its kind, tokenizer on a device) of the run or bundle at a path, if it is a tokenizer for that slot."""
    for name, kind in for_slot(slot).slots[slot].items():
        tokenizer = kind.open(path, device)
        if tokenizer is not None:
            return name, tokenizer
    return None


@cache
def _installed() -> dict[str, Modality]:
    """Those of installed packages, loaded once. One that cannot be loaded is passed over with a warning."""
    found = {}
    for point in entry_points(group=GROUP):
        try:
            modality = point.load()
        except Exception as error:  # another package's code: whatever it raises, the rest must work
            warnings.warn(f"modality {point.name!r} of {point.value} does not load: {error}", stacklevel=2)
            continue
        found[modality.name] = modality
    return found
