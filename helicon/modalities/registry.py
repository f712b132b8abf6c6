"""All modalities: those of the entry-point group `helicon.modalities`, and those registered by hand."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from torch import Tensor

from helicon.modalities.base import Modality, TokenizerSpec
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
    found = _by_hand.get(name) or _installed().get(name)
    if found is None:
        raise ValueError(unknown("modality", name, all_modalities()))
    return found


def for_slot(slot: str, beside: Iterable[str] = ()) -> Modality:
    """The modality that has a slot: of several the one that also has another of the slots `beside` it.

    ValueError names the slots nearest to one that there is not, or those of which one has to be beside it.
    """
    owners = _owners(slot)
    if len(owners) > 1:
        others = set(beside) - {slot}
        owners = [modality for modality in owners if others & set(modality.slots)] or owners
    if len(owners) > 1:
        media, slots = " and of ".join(m.name for m in owners), (s for m in owners for s in m.slots if s != slot)
        raise ValueError(f"slot {slot!r} is of {media}: another slot beside it has to say which ({', '.join(slots)})")
    return owners[0]


def option_classes() -> tuple[type[Any], ...]:
    """Dataclasses of how the files of each medium are read and its tokenizers learned, in the order of media."""
    found = [kind for modality in all_modalities().values() for kind in (modality.options, modality.fitting)]
    return tuple(kind for kind in found if kind)


def fitting_options() -> set[str]:
    """Names of the options by which tokenizers are learned, of all media."""
    found = [modality.fitting for modality in all_modalities().values() if modality.fitting]
    return {each.name for kind in found for each in fields(kind)}


def read_options(layouts: Iterable[Iterable[str]], given: Mapping[str, Any]) -> dict[str, Any]:
    """All options with which files of the media of some layouts, each the names of its slots, are read.

    ValueError for a value that is none.
    """
    found: dict[str, Any] = {}
    for layout in map(list, layouts):
        for slot in layout:
            found |= for_slot(slot, layout).read_options(given)
    return found


def specs(slot: str) -> dict[str, TokenizerSpec]:
    """Ways to tokenize a slot, of all media that have it."""
    return {name: each for modality in _owners(slot) for name, each in modality.slots[slot].items()}


def is_slot(name: Any) -> bool:
    """Whether some medium has a slot of that name."""
    return any(name in modality.slots for modality in all_modalities().values())


def spec(slot: str, name: str) -> TokenizerSpec:
    """The way of that name to tokenize a slot, whatever its medium; ValueError names those that there are."""
    found = specs(slot)
    if name not in found:
        raise ValueError(unknown(f"tokenizer for {slot}", name, found))
    return found[name]


def restored(slot: str, name: str, state: dict[str, Any], weights: Mapping[str, Tensor] | None = None) -> Tokenizer:
    """The tokenizer of that name whose `state()`, and `weights()` if it has any, these were."""
    from_state = spec(slot, name).from_state
    return from_state(state, weights) if weights else from_state(state)


def opened(slot: str, path: Path, device: Any = "cpu") -> tuple[str, Tokenizer] | None:
    """(its name, tokenizer on a device) of the run or bundle at a path, if it is a tokenizer for that slot."""
    for name, each in specs(slot).items():
        tokenizer = each.from_pretrained(path, device)
        if tokenizer is not None:
            return name, tokenizer
    return None


def _owners(slot: str) -> list[Modality]:
    """All modalities that have a slot; ValueError when there is none."""
    owners = [modality for modality in all_modalities().values() if slot in modality.slots]
    if not owners:
        raise ValueError(unknown("slot", slot, dict.fromkeys(s for m in all_modalities().values() for s in m.slots)))
    return owners


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
