"""Source of prepared data: files, layouts, options, and the modality and tokenizer of each slot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helicon.data.config import DataConfig, SequenceDataConfig
from helicon.data.entries import DataError, Origin
from helicon.formats.nearest import unknown
from helicon.formats.validation import ValidationRecord
from helicon.modalities import registry
from helicon.modalities.base import Modality
from helicon.objectives.base import Examples
from helicon.sequence.layout import Layout
from helicon.sources.places import Place, as_place


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Files to prepare and the options that the cache depends on.

    Attributes:
        path: folder or file, or a place that is elsewhere; of several origins the first one's.
        layouts: as text, such as `style[3] music`; one corpus each.
        tokenizers: slot -> tokenizer name; the modality's first one unless given.
        options: of reading and fitting, name -> value.
        manifest: lists the files instead of a search.
        origins: where the files come from, if there are several places, whose files are split each by themselves.
        val_split: share of the validation part by size, 0 to 1; None for the pieces of the record alone.
        record: `ValidationRecord` of earlier trainings, whose validation pieces stay in that part.
        cache: folder of caches; the user's unless given.
        grow: add the labels of the folder to pretrained tokenizers; False for measuring.
        examples: kind of example. For `labelled`, only the target slot is read, so that other media are not needed, and
            all documents of a file are in one part of the split; for `pairs`, a manifest lists them.
        labels: labels to learn, entries with others are skipped; empty for any, None where labels are not needed.
    """

    path: Place
    layouts: tuple[str, ...]
    tokenizers: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    manifest: Path | None = None
    origins: tuple[Origin, ...] = ()
    val_split: float | None = 0.05
    record: ValidationRecord = field(default_factory=dict)
    cache: Path | None = None
    grow: bool = True
    examples: Examples = "sequences"
    labels: tuple[str, ...] | None = None

    @property
    def all_origins(self) -> tuple[Origin, ...]:
        """The origins, of which there is one at least."""
        return self.origins or (Origin(name=Path(self.path).name, path=self.path, manifest=self.manifest),)

    @staticmethod
    def of(
        config: DataConfig, layouts: tuple[str, ...], tokenizers: Mapping[str, str], options: Mapping[str, Any]
    ) -> DataSource:
        """Make the source of a data config.

        Args:
            config: `DataConfig` with the paths and the split.
            layouts: as text, such as `style[3] music`.
            tokenizers: slot -> tokenizer name.
            options: of reading and fitting, name -> value.

        Returns:
            A `DataSource` with the other fields at their defaults.
        """
        manifest, cache = (Path(name) if name else None for name in (config.manifest, config.cache))
        named = config.origins if isinstance(config, SequenceDataConfig) else []
        origins = [
            Origin(name=name, path=as_place(origin.path), manifest=Path(origin.manifest) if origin.manifest else None)
            for name, origin in named
        ]
        return DataSource(
            path=as_place(config.path),
            layouts=layouts,
            tokenizers=tokenizers,
            options=options,
            manifest=manifest,
            origins=tuple(origins),
            val_split=config.val_split,
            cache=cache,
        )


def slots_of(layout: Layout, examples: Examples = "sequences") -> list[str]:
    """Return the slots of a layout that are read.

    Args:
        layout: `Layout` of the examples.
        examples: `Examples`, kind of example, such as `labelled`.

    Returns:
        Names of all slots, or of the target alone for `labelled`.
    """
    return [layout.target.name] if examples == "labelled" else layout.all_slots


def modalities_of(layout: Layout, examples: Examples = "sequences") -> list[Modality]:
    """Return the modalities of the slots that are read.

    Args:
        layout: `Layout` of the examples.
        examples: `Examples`, kind of example.

    Returns:
        List of `Modality` objects, each once, in order of the slots.

    Raises:
        DataError: the target slot is in no file, such as a label.
    """
    if not modality_of(layout.target.name, [layout]).in_files:
        raise DataError(f"layout `{layout}`: a label is a condition of what is made; put a slot such as image after it")
    modalities = [modality_of(slot, [layout]) for slot in slots_of(layout, examples)]
    return list({modality.name: modality for modality in modalities}.values())


def modality_of(slot: str, layouts: Iterable[Layout]) -> Modality:
    """Return the modality of a slot, which may depend on the other slots of its layout.

    Args:
        slot: name.
        layouts: `Layout`s of the model; those without the slot are ignored.

    Returns:
        The `Modality`.

    Raises:
        DataError: the layouts give different modalities.
    """
    having = [layout.all_slots for layout in layouts if slot in layout.all_slots]
    modalities = {modality.name: modality for modality in (registry.for_slot(slot, sources) for sources in having)}
    if len(modalities) > 1:
        raise DataError(f"slot {slot!r} is of {' and of '.join(modalities)} in these layouts; a model has one of them")
    return next(iter(modalities.values()))


def tokenizer_names_of(source: DataSource) -> dict[str, str]:
    """Return slot -> tokenizer name for each slot of the layouts of a `DataSource`.

    Raises:
        DataError: the source names a tokenizer for a slot that no layout has.
        ValueError: no tokenizer of that name for the slot.
    """
    layouts = [Layout.parse(spec) for spec in source.layouts]
    slots = dict.fromkeys(slot for layout in layouts for slot in layout.all_slots)
    for slot, name in source.tokenizers.items():
        if slot not in slots:
            raise DataError(f"tokenizer {name}: {unknown('slot', slot, slots)}")
        registry.spec(slot, name, next(layout.all_slots for layout in layouts if slot in layout.all_slots))
    return {slot: source.tokenizers.get(slot) or next(iter(modality_of(slot, layouts).slots[slot])) for slot in slots}
