"""Media to local ids: where they are read, or many at once, on a GPU if there is one, where that takes a codec."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import compress
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch

from helicon.data.corpus import narrow
from helicon.data.entries import Entry
from helicon.data.reading import Media, Reader, Variants, in_company, variants
from helicon.modalities import registry
from helicon.modalities.guarded import encoded
from helicon.sequence.layout import Layout
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.codec import CodecTokenizer
from helicon.tokenizers.guides import most_ids

TOGETHER, TOGETHER_BYTES = 1024, 32 << 20  # pieces, and bytes of their media, that are encoded at a time


@dataclass(frozen=True)
class StatisticsJob:
    """Media to what fitting asks of these modalities: the surveys of each, one for each of its alternatives."""

    modalities: Sequence[str]

    def __call__(self, entry: Entry, media: Media) -> dict[str, list[Any]]:
        found = {name: paired(name, thing) if in_company(media) else thing for name, thing in media.items()}
        surveys = {}
        for name in self.modalities:
            with registry.MODALITIES.running(name):
                surveys[name] = [registry.get(name).survey(each) for each in variants(found[name])]
        return surveys


class EncodedIds(NamedTuple):
    """Local ids in the smallest type that holds them, no more than there is room for; counts of what was lost."""

    ids: np.ndarray
    lost: Mapping[str, int]


class EncodedExample(NamedTuple):
    """One document of an entry: slot -> ids of each alternative; modality -> media of slots that have none yet."""

    name: str
    ids: dict[str, list[EncodedIds]]
    media: Media


@dataclass(frozen=True, kw_only=True)
class SlotEncoder:
    """Media of a modality to ids of a slot.

    room: how many a piece may have, None for any number. name: of the tokenizer, as the registry knows it.
    """

    slot: str
    modality: str
    tokenizer: Tokenizer
    room: int | None
    name: str = ""

    def __call__(self, media: Sequence[Any]) -> list[EncodedIds]:
        return [self._cut(ids, lost) for ids, lost in encoded(self.slot, self.name, self.tokenizer, media)]

    def _cut(self, ids: np.ndarray, lost: Mapping[str, int]) -> EncodedIds:
        over = 0 if self.room is None else max(0, len(ids) - self.room)
        if over:
            lost = {**lost, f"{self.slot} tokens cut": over}
        return EncodedIds(narrow(ids[: self.room], len(self.tokenizer.block), self.slot), lost)

    @property
    def travels(self) -> bool:
        """Whether other processes can do this: not with a network, nor with what cannot be pickled."""
        if isinstance(self.tokenizer, CodecTokenizer):
            return False
        try:
            return bool(pickle.dumps(self.tokenizer))
        except Exception:  # of any type: another package's tokenizer may hold anything
            return False

    def ready(self) -> SlotEncoder:
        """With a codec on the GPU, if there is one."""
        if isinstance(self.tokenizer, CodecTokenizer) and torch.cuda.is_available():
            return replace(self, tokenizer=self.tokenizer.to("cuda"))
        return self


@dataclass(frozen=True)
class EncodingJob:
    """Media to the pieces of a layout, with ids of the slots that the coders are of."""

    layout: Layout
    modalities: Mapping[str, str]  # slot -> modality
    coders: Sequence[SlotEncoder]

    def __call__(self, entry: Entry, media: Media) -> list[EncodedExample]:
        return [
            EncodedExample(
                name,
                {coder.slot: coder(variants(found[coder.modality])) for coder in self.coders},
                {name: found[name] for name in self._later},
            )
            for name, found in self._documents(entry, media)
        ]

    @cached_property
    def _later(self) -> set[str]:
        """Modalities of the slots that others encode."""
        coded = {coder.slot for coder in self.coders}
        return {name for slot, name in self.modalities.items() if slot not in coded}

    def _documents(self, entry: Entry, media: Media) -> Iterable[tuple[str, Media]]:
        """An entry is one document, but for a medium alone in an open slot that comes in parts, as long text does.

        One of a pair is judged as a whole.
        """
        if in_company(media):
            return [(entry.name, {name: paired(name, found) for name, found in media.items()})]
        if self.layout.target.length is not None or entry.side:
            return [(entry.name, media)]
        name = self.modalities[self.layout.target.name]
        with registry.MODALITIES.running(name):
            parts = registry.get(name).documents(media[name])
        if len(parts) == 1:
            return [(entry.name, {**media, name: parts[0]})]
        return [(f"{entry.name}#{i}", {**media, name: part}) for i, part in enumerate(parts)]


def encode(
    reader: Reader, layout: Layout, modalities: Mapping[str, str], tokenizers: Mapping[str, Tokenizer],
    names: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[tuple[Entry, EncodedExample]]:  # fmt: skip
    """All pieces of a layout with ids of these slots, in order.

    modalities: of each slot, by name. names: of tokenizers, as the registry knows them.
    """
    room = most_ids(layout, tokenizers)
    coders = [
        SlotEncoder(slot=slot, modality=modality, tokenizer=tokenizers[slot], room=room[slot], name=names.get(slot, ""))
        for slot, modality in modalities.items()
    ]
    travels = [coder.travels for coder in coders]
    near, far = list(compress(coders, travels)), [coder.ready() for coder, it in zip(coders, travels) if not it]
    read = reader.read("tokenising", EncodingJob(layout, modalities, near), keep=False)
    pieces = ((entry, piece) for entry, several in read for piece in several)
    if not far:
        yield from pieces
        return
    for group in grouped(pieces):
        for coder in far:
            several = [variants(piece.media[coder.modality]) for _, piece in group]
            coded = iter(coder([media for media_of in several for media in media_of]))
            for (_, piece), media_of in zip(group, several):
                piece.ids[coder.slot] = [next(coded) for _ in media_of]
        yield from group


def grouped(pieces: Iterable[tuple[Entry, EncodedExample]]) -> Iterator[list[tuple[Entry, EncodedExample]]]:
    """Neighbours together, as many as are encoded at a time."""
    group: list[tuple[Entry, EncodedExample]] = []
    taken = 0
    for entry, piece in pieces:
        group.append((entry, piece))
        taken += sum(getattr(media, "nbytes", 0) for thing in piece.media.values() for media in variants(thing))
        if len(group) == TOGETHER or taken >= TOGETHER_BYTES:
            yield group
            group, taken = [], 0
    if group:
        yield group


def paired(name: str, media: Any) -> Any:
    """Media of a modality, or each of its alternatives, as they are beside other media."""
    modality = registry.get(name)
    with registry.MODALITIES.running(name):
        return Variants(map(modality.paired, media)) if isinstance(media, Variants) else modality.paired(media)
