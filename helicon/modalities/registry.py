"""Registry of modalities and of the tokenizers of their slots: Helicon's own and those of plugins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor

from helicon.formats.nearest import unknown
from helicon.formats.printable import printable
from helicon.modalities.audio import AUDIO
from helicon.modalities.base import MODALITIES, Modality, TokenizerSpec
from helicon.modalities.image import IMAGE
from helicon.modalities.label import LABEL
from helicon.modalities.lyrics import LYRICS
from helicon.modalities.music import MUSIC
from helicon.modalities.text import TEXT
from helicon.plugins.plugin import Plugin
from helicon.plugins.registry import Registry, required_options, wrong_types
from helicon.tokenizers.augment import AugmentationRanges
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.codec import CodecTokenizer
from helicon.vqvae.audio_codec import AudioCodec
from helicon.vqvae.codec import ImageCodec
from helicon.vqvae.storage import codec_plugins

CODECS = (ImageCodec, AudioCodec)  # those whose network and quantizer may be plugins'
# Tokenizers that are registered by themselves, as SLOT/NAME; others are in the `slots` of their modality
TOKENIZERS: Registry[TokenizerSpec] = Registry("tokenizer")


def register_modality(modality: Modality) -> Modality:
    """Register a medium.

    Args:
        modality: `Modality`, registered under its name.

    Returns:
        The modality.

    Raises:
        PluginError: another one has the name or a slot, a slot has no tokenizers, or an option is of an unsupported
            type.
    """
    if fault := _modality_fault(modality):
        raise MODALITIES.refusal(modality.name, fault)
    return MODALITIES.register(modality.name, modality)


def _modality_fault(modality: Modality) -> str:
    """Find the first reason why a medium cannot be registered beside the others; empty if there is none."""
    for slot, tokenizers in modality.slots.items():
        if not tokenizers or not all(isinstance(tokenizer, TokenizerSpec) for tokenizer in tokenizers.values()):
            return f"slot {slot!r}: tokenizers by name are needed, each a helicon.TokenizerSpec"
        owners = [owner for owner in all_modalities().values() if slot in owner.slots and owner.name != modality.name]
        # Slots have one owner each, except that a medium may have its own `style`, which is the labels' slot, too
        if owners and not (modality.in_files and any(not owner.in_files for owner in owners)):
            return f"its slot {slot!r} is one of {MODALITIES.title(owners[0].name)}; give yours another name"
    suffixes = modality.suffixes
    if isinstance(suffixes, str) or not all(isinstance(suffix, str) and suffix[:1] == "." for suffix in suffixes):
        return f"suffixes {printable(repr(suffixes), 80)}: a tuple of suffixes is needed, such as ('.mid', '.midi')"
    for name, kind in _option_kinds(modality).items():
        if fault := wrong_types(kind):
            return f"{name}: {fault}"
        if required := required_options(kind):
            return f"{name}: {required[0]} needs a default"
    return ""


def register_tokenizer(slot: str, name: str, spec: TokenizerSpec) -> TokenizerSpec:
    """Register a tokenizer for a slot of some medium; it is chosen by `--data.tokenizer NAME`.

    Args:
        slot: of the medium, such as `text` or `music`.
        name: of the tokenizer.
        spec: `TokenizerSpec`, which makes and restores it.

    Returns:
        The spec.

    Raises:
        PluginError: another tokenizer of the slot has the name, or the spec is no TokenizerSpec.
    """
    for modality in all_modalities().values():
        if name in modality.slots.get(slot, ()):
            owner = MODALITIES.title(modality.name)
            raise TOKENIZERS.refusal(f"{slot}/{name}", f"{owner} has one of this name; give yours another one")
    if not isinstance(spec, TokenizerSpec):
        raise TOKENIZERS.refusal(f"{slot}/{name}", f"{type(spec).__name__}: a helicon.TokenizerSpec is needed")
    return TOKENIZERS.register(f"{slot}/{name}", spec)


for _modality in (AUDIO, IMAGE, LABEL, LYRICS, MUSIC, TEXT):
    MODALITIES.register(_modality.name, _modality)


def all_modalities() -> dict[str, Modality]:
    """Return all `Modality` objects by name, sorted by it."""
    return dict(sorted(MODALITIES.items().items()))


def get(name: str) -> Modality:
    """Return the `Modality` of a name, such as `music`; ValueError shows the nearest names."""
    return MODALITIES.get(name)


def for_slot(slot: str, layout_slots: Iterable[str] = ()) -> Modality:
    """Find the modality of a slot.

    Args:
        slot: its name.
        layout_slots: names of all slots of its layout. If several media have the slot, such as `style`, the medium is
            the one with another slot in the layout, else labels.

    Returns:
        The modality.

    Raises:
        ValueError: no medium has the slot, with the nearest names; or the layout does not decide between several.
    """
    owners = _owners(slot)
    if len(owners) > 1:
        others = set(layout_slots) - {slot}
        near = [modality for modality in owners if others & set(modality.slots)]
        owners = near or [modality for modality in owners if not modality.in_files] or owners
    if len(owners) > 1:
        media, slots = " and of ".join(m.name for m in owners), (s for m in owners for s in m.slots if s != slot)
        raise ValueError(f"slot {slot!r} is of {media}: another slot beside it has to say which ({', '.join(slots)})")
    return owners[0]


def option_classes() -> tuple[tuple[str, type[Any]], ...]:
    """List the dataclasses of options of all media as pairs: (name of the medium, one of its dataclasses).

    They are in order of the media's names.
    """
    media = all_modalities().items()
    return tuple((name, kind) for name, modality in media for kind in _option_kinds(modality).values())


def _option_kinds(modality: Modality) -> dict[str, type[Any]]:
    """Return the dataclasses of options of a medium, by the names of its attributes."""
    kinds = {name: getattr(modality, name) for name in ("options", "source_options", "fitting")}
    return {name: kind for name, kind in kinds.items() if kind}


def fitting_options() -> set[str]:
    """Return the names of the options of fitting tokenizers, of all media, as a set."""
    kinds = [modality.fitting for modality in all_modalities().values() if modality.fitting]
    return {field.name for kind in kinds for field in fields(kind)}


def read_options(layouts: Iterable[Iterable[str]], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options with which the files of some layouts are read.

    Args:
        layouts: for each, the names of its slots.
        values: value by option name; those of other media are ignored.

    Returns:
        Option name -> value, or default, of all media of the layouts.

    Raises:
        ValueError: an invalid value.
    """
    options: dict[str, Any] = {}
    for layout in map(list, layouts):
        for slot in layout:
            options |= for_slot(slot, layout).read_options(values)
    return options


def source_values(layouts: Iterable[Iterable[str]], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options of how the files of some layouts are written.

    Args:
        layouts: for each, the names of its slots.
        values: value by option name; those of other media are ignored.

    Returns:
        Option name -> value, or default, of all media of the layouts.

    Raises:
        ValueError: an invalid value.
    """
    options: dict[str, Any] = {}
    for layout in map(list, layouts):
        for slot in layout:
            options |= for_slot(slot, layout).source_values(values)
    return options


def augmentation_ranges(modalities: Iterable[str], changes: Mapping[str, Any]) -> dict[str, AugmentationRanges]:
    """Build the ranges that augmentations are drawn from.

    Args:
        modalities: names of modalities.
        changes: range name -> its value, such as [LEAST, MOST], over the defaults.

    Returns:
        Modality name -> `AugmentationRanges`, of those modalities that are augmented at all.

    Raises:
        ValueError: a change that none of the modalities has, or an invalid value.
    """
    kinds = {name: kind for name in modalities if (kind := get(name).augmentation)}
    names = {name: [field.name for field in fields(kind)] for name, kind in kinds.items()}  # type: ignore[arg-type]
    known = [change for modality_changes in names.values() for change in modality_changes]
    for change in changes:
        if change not in known:
            raise ValueError(unknown("change", change, known) if known else f"change {change!r}: no medium is changed")
    ranges = {
        name: kind(**{change: changes[change] for change in names[name] if change in changes})
        for name, kind in kinds.items()
    }
    return {name: modality_ranges for name, modality_ranges in ranges.items() if not modality_ranges.idle}


def specs(slot: str, layout_slots: Iterable[str] | None = None) -> dict[str, TokenizerSpec]:
    """Return the tokenizers of a slot.

    Args:
        slot: its name.
        layout_slots: names of all slots of its layout, which decide between several media with such a slot; None for
            the tokenizers of all these media.

    Returns:
        Tokenizer name -> `TokenizerSpec`.

    Raises:
        ValueError: as `for_slot`.
    """
    media = _owners(slot) if layout_slots is None else [for_slot(slot, layout_slots)]
    by_name = {name: tokenizer for modality in media for name, tokenizer in modality.slots[slot].items()}
    registered = {tuple(key.split("/")): tokenizer for key, tokenizer in TOKENIZERS.items().items()}
    return by_name | {name: tokenizer for (owner, name), tokenizer in registered.items() if owner == slot}


def is_slot(name: Any) -> bool:
    """Return True if a medium has a slot of that name, unvalidated."""
    return any(name in modality.slots for modality in all_modalities().values())


def spec(slot: str, name: str, layout_slots: Iterable[str] | None = None) -> TokenizerSpec:
    """Look up a tokenizer of a slot.

    Args:
        slot: its name.
        name: of the tokenizer.
        layout_slots: as in `specs`.

    Returns:
        Its `TokenizerSpec`.

    Raises:
        ValueError: no such tokenizer; the message shows the nearest names.
    """
    available = specs(slot, layout_slots)
    if name not in available:
        raise ValueError(unknown(f"tokenizer for {slot}", name, available))
    return available[name]


def media_class(slot: str) -> type[Any]:
    """Return the class of media that tokenizers of a slot decode to; `object` where no medium says one."""
    return next((modality.media[slot] for modality in _owners(slot) if slot in modality.media), object)


def restore_tokenizer(
    slot: str, name: str, state: dict[str, Any], weights: Mapping[str, Tensor] | None = None
) -> Tokenizer:  # fmt: skip
    """Restore a tokenizer.

    Args:
        slot: name of the slot that it tokenizes.
        name: of the tokenizer.
        state: JSON-able dict, from its `state()`.
        weights: tensors by name from its `weights()`, of a codec; else None or empty.

    Returns:
        The tokenizer.

    Raises:
        ValueError: no such tokenizer, or an invalid state.
        PluginError: a plugin's `from_state` fails, or returns no tokenizer.
    """
    from_state, (registry, key) = spec(slot, name).from_state, registration(slot, name)
    with registry.running(key):
        tokenizer = from_state(state, weights) if weights else from_state(state)
    if not isinstance(tokenizer, Tokenizer):
        raise registry.fault(key, f"from_state gives {type(tokenizer).__name__}; a helicon.Tokenizer is needed")
    return tokenizer


def registration(slot: str, name: str) -> tuple[Registry[Any], str]:
    """Find what registered a tokenizer, for `Registry.running` and messages.

    Args:
        slot: name of the slot that it tokenizes.
        name: of the tokenizer.

    Returns:
        `Registry` and key: SLOT/NAME of a tokenizer registered by itself, else the name of its modality; an empty key
        for an unknown tokenizer.
    """
    if (key := f"{slot}/{name}") in TOKENIZERS:
        return TOKENIZERS, key
    for medium, modality in MODALITIES.items().items():
        if name in modality.slots.get(slot, ()):
            return MODALITIES, medium
    return MODALITIES, ""


def open_tokenizer(slot: str, path: Path, device: Any = "cpu") -> tuple[str, Tokenizer] | None:
    """Open a run or bundle as a tokenizer, such as that of a codec.

    Args:
        slot: name of the slot that it shall tokenize.
        path: folder of the run or bundle.
        device: PyTorch device of its network.

    Returns:
        Name and tokenizer; None if there is no tokenizer of the slot at the path.

    Raises:
        ValueError: no such slot, or a broken bundle.
    """
    for name, tokenizer_spec in specs(slot).items():
        tokenizer = tokenizer_spec.from_pretrained(path, device)
        if tokenizer is not None:
            return name, tokenizer
    return None


def plugins_of(
    layouts: Iterable[Iterable[str]], names: Mapping[str, str], tokenizers: Mapping[str, Tokenizer]
) -> list[Plugin]:  # fmt: skip
    """List the plugins that the media, tokenizers and codecs of a model come from.

    Args:
        layouts: for each, the names of its slots.
        names: slot -> name of its tokenizer.
        tokenizers: slot -> tokenizer, as far as there are any yet; the network and quantizer of a codec count, too.

    Returns:
        `Plugin`s, each once.
    """
    media = {for_slot(slot, layout).name for layout in map(list, layouts) for slot in layout}
    plugins = [MODALITIES.plugin_of(name) for name in sorted(media)]
    plugins += [TOKENIZERS.plugin_of(f"{slot}/{name}") for slot, name in sorted(names.items())]
    codecs = (tokenizer.codec for tokenizer in tokenizers.values() if isinstance(tokenizer, CodecTokenizer))
    plugins += [plugin for codec in codecs if isinstance(codec, CODECS) for plugin in codec_plugins(codec.config)]
    return [plugin for plugin in dict.fromkeys(plugins) if plugin]


def _owners(slot: str) -> list[Modality]:
    """List the modalities that have a slot; ValueError if there is none, with the nearest names."""
    owners = [modality for modality in all_modalities().values() if slot in modality.slots]
    if not owners:
        raise ValueError(unknown("slot", slot, dict.fromkeys(s for m in all_modalities().values() for s in m.slots)))
    return owners
