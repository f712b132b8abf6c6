"""All modalities, and all ways to tokenize their slots: Helicon's own and those of plugins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor

from helicon.formats.nearest import unknown
from helicon.modalities.audio import AUDIO
from helicon.modalities.base import MODALITIES, Modality, TokenizerSpec
from helicon.modalities.image import IMAGE
from helicon.modalities.label import LABEL
from helicon.modalities.lyrics import LYRICS
from helicon.modalities.music import MUSIC
from helicon.modalities.text import TEXT
from helicon.plugins.plugin import Plugin
from helicon.plugins.registry import Registry, wrong_types
from helicon.tokenizers.augment import AugmentationRanges
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.codec import CodecTokenizer
from helicon.vqvae.audio_codec import AudioCodec
from helicon.vqvae.codec import ImageCodec
from helicon.vqvae.storage import codec_plugins

CODECS = (ImageCodec, AudioCodec)
TOKENIZERS: Registry[TokenizerSpec] = Registry("tokenizer")  # beside those of modalities; SLOT/NAME


def register_modality(modality: Modality) -> Modality:
    """Adds a medium of one's own.

    Args:
        modality: under the name that it has.

    Raises:
        PluginError: for the name or a slot of another one, slots without tokenizers, options whose types are not known.
    """
    if wrong := _wrong_with(modality):
        raise MODALITIES.refusal(modality.name, wrong)
    return MODALITIES.register(modality.name, modality)


def _wrong_with(modality: Modality) -> str:
    """Why a medium of somebody's own cannot be one beside the others, if so."""
    for slot, choices in modality.slots.items():
        if not choices or not all(isinstance(each, TokenizerSpec) for each in choices.values()):
            return f"slot {slot!r}: tokenizers by name are needed, each a helicon.TokenizerSpec"
        others = [each for each in all_modalities().values() if slot in each.slots and each.name != modality.name]
        # What a slot means by itself stays: labels say the words of a medium's style where it has such a slot, too
        if others and not (modality.in_files and any(not each.in_files for each in others)):
            return f"its slot {slot!r} is one of {MODALITIES.title(others[0].name)}; give yours another name"
    for name, kind in (("options", modality.options), ("fitting", modality.fitting)):
        if kind and (wrong := wrong_types(kind)):
            return f"{name}: {wrong}"
    return ""


def register_tokenizer(slot: str, name: str, spec: TokenizerSpec) -> TokenizerSpec:
    """Adds a way to tokenize a slot of some medium, `--data.tokenizer NAME`.

    Args:
        slot: of the medium, such as `text` or `music`.
        name: of the tokenizer.
        spec: how it is made and brought back.

    Raises:
        PluginError: for the name of another one, and for what is no TokenizerSpec.
    """
    for modality in all_modalities().values():
        if name in modality.slots.get(slot, ()):
            owner = MODALITIES.title(modality.name)
            raise TOKENIZERS.refusal(f"{slot}/{name}", f"{owner} has one of this name; give yours another one")
    if not isinstance(spec, TokenizerSpec):
        raise TOKENIZERS.refusal(f"{slot}/{name}", f"{type(spec).__name__}: a helicon.TokenizerSpec is needed")
    return TOKENIZERS.register(f"{slot}/{name}", spec)


for _own in (AUDIO, IMAGE, LABEL, LYRICS, MUSIC, TEXT):
    MODALITIES.register(_own.name, _own)


def all_modalities() -> dict[str, Modality]:
    """Name -> modality, in order of name."""
    return dict(sorted(MODALITIES.items().items()))


def get(name: str) -> Modality:
    """The modality of that name; ValueError names those nearest to it."""
    return MODALITIES.get(name)


def for_slot(slot: str, beside: Iterable[str] = ()) -> Modality:
    """The modality that has a slot: of several the one that also has another of the slots `beside` it, else labels.

    ValueError names the slots nearest to one that there is not, or those of which one has to be beside it.
    """
    owners = _owners(slot)
    if len(owners) > 1:
        others = set(beside) - {slot}
        near = [modality for modality in owners if others & set(modality.slots)]
        owners = near or [modality for modality in owners if not modality.in_files] or owners
    if len(owners) > 1:
        media, slots = " and of ".join(m.name for m in owners), (s for m in owners for s in m.slots if s != slot)
        raise ValueError(f"slot {slot!r} is of {media}: another slot beside it has to say which ({', '.join(slots)})")
    return owners[0]


def option_classes() -> tuple[tuple[str, type[Any]], ...]:
    """(name of a medium, dataclass) of how the files of each are read and its tokenizers learned, in order of media."""
    media = all_modalities().items()
    return tuple((name, kind) for name, each in media for kind in (each.options, each.fitting) if kind)


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


def augmentation_ranges(modalities: Iterable[str], changes: Mapping[str, Any]) -> dict[str, AugmentationRanges]:
    """Modality -> what its augmentations are drawn from: ranges as they are given, by name, else the defaults.

    A modality of which nothing is changed is left out. ValueError for a range that is none, or that none of these has.
    """
    kinds = {name: kind for name in modalities if (kind := get(name).augmentation)}
    names = {name: [each.name for each in fields(kind)] for name, kind in kinds.items()}  # type: ignore[arg-type]
    known = [each for several in names.values() for each in several]
    for change in changes:
        if change not in known:
            raise ValueError(unknown("change", change, known) if known else f"change {change!r}: no medium is changed")
    found = {
        name: kind(**{each: changes[each] for each in names[name] if each in changes}) for name, kind in kinds.items()
    }
    return {name: ranges for name, ranges in found.items() if not ranges.idle}


def specs(slot: str, beside: Iterable[str] | None = None) -> dict[str, TokenizerSpec]:
    """Ways to tokenize a slot, of all media that have it, or of the one that the slots beside it say."""
    media = _owners(slot) if beside is None else [for_slot(slot, beside)]
    found = {name: each for modality in media for name, each in modality.slots[slot].items()}
    more = {tuple(name.split("/")): each for name, each in TOKENIZERS.items().items()}
    return found | {name: each for (theirs, name), each in more.items() if theirs == slot}


def is_slot(name: Any) -> bool:
    """Whether some medium has a slot of that name."""
    return any(name in modality.slots for modality in all_modalities().values())


def spec(slot: str, name: str, beside: Iterable[str] | None = None) -> TokenizerSpec:
    """Look up a tokenizer of a slot.

    Args:
        slot: name.
        name: of the tokenizer.
        beside: the slots of its layout, which say the medium of a slot that several have; None for any of these media.

    Returns:
        Its spec.

    Raises:
        ValueError: no such tokenizer; the message shows the nearest names.
    """
    available = specs(slot, beside)
    if name not in available:
        raise ValueError(unknown(f"tokenizer for {slot}", name, available))
    return available[name]


def restored(slot: str, name: str, state: dict[str, Any], weights: Mapping[str, Tensor] | None = None) -> Tokenizer:
    """The tokenizer of that name whose `state()`, and `weights()` if it has any, these were.

    PluginError for one of a plugin that does not come back.
    """
    from_state, (kind, thing) = spec(slot, name).from_state, registered(slot, name)
    with kind.running(thing):
        found = from_state(state, weights) if weights else from_state(state)
    if not isinstance(found, Tokenizer):
        raise kind.fault(thing, f"from_state gives {type(found).__name__}; a helicon.Tokenizer is needed")
    return found


def registered(slot: str, name: str) -> tuple[Registry[Any], str]:
    """Where a tokenizer is registered, and under which name: by itself, or with its medium."""
    if (thing := f"{slot}/{name}") in TOKENIZERS:
        return TOKENIZERS, thing
    for medium, modality in MODALITIES.items().items():
        if name in modality.slots.get(slot, ()):
            return MODALITIES, medium
    return MODALITIES, ""


def opened(slot: str, path: Path, device: Any = "cpu") -> tuple[str, Tokenizer] | None:
    """(its name, tokenizer on a device) of the run or bundle at a path, if it is a tokenizer for that slot."""
    for name, each in specs(slot).items():
        tokenizer = each.from_pretrained(path, device)
        if tokenizer is not None:
            return name, tokenizer
    return None


def plugins_of(
    layouts: Iterable[Iterable[str]], names: Mapping[str, str], tokenizers: Mapping[str, Tokenizer]
) -> list[Plugin]:  # fmt: skip
    """Plugins that media and tokenizers come from.

    Args:
        layouts: each the names of its slots.
        names: of the tokenizer of each slot.
        tokenizers: those that are known already; of a codec, what that is made of counts too.
    """
    media = {for_slot(slot, layout).name for layout in map(list, layouts) for slot in layout}
    found = [MODALITIES.plugin_of(name) for name in sorted(media)]
    found += [TOKENIZERS.plugin_of(f"{slot}/{name}") for slot, name in sorted(names.items())]
    codecs = (each.codec for each in tokenizers.values() if isinstance(each, CodecTokenizer))
    found += [plugin for codec in codecs if isinstance(codec, CODECS) for plugin in codec_plugins(codec.config)]
    return [each for each in dict.fromkeys(found) if each]


def _owners(slot: str) -> list[Modality]:
    """All modalities that have a slot; ValueError when there is none."""
    owners = [modality for modality in all_modalities().values() if slot in modality.slots]
    if not owners:
        raise ValueError(unknown("slot", slot, dict.fromkeys(s for m in all_modalities().values() for s in m.slots)))
    return owners
