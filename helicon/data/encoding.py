"""Encode media to local ids: in reader processes, or in batches, on a GPU if there is one, where a codec is needed."""

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
from helicon.data.entries import Entry, size
from helicon.data.reading import Media, Reader, Variants, is_multimodal, variants
from helicon.modalities import registry
from helicon.modalities.guarded import encode_media
from helicon.sequence.layout import Layout
from helicon.tokenizers.base import Tokenizer
from helicon.tokenizers.codec import CodecTokenizer
from helicon.tokenizers.guides import most_ids

# Examples, and bytes of their media, that codecs encode at once: media of so many are in memory meanwhile
ENCODED_AT_ONCE, ENCODED_AT_ONCE_BYTES = 1024, 32 << 20


@dataclass(frozen=True)
class StatisticsJob:
    """Job that surveys the training part for fitting: modality -> list of surveys, one for each variant."""

    modalities: Sequence[str]

    def __call__(self, entry: Entry, media: Media) -> dict[str, list[Any]]:
        if entry.val_start == 0:
            return {}
        paired_media = {name: paired(name, thing) if is_multimodal(media) else thing for name, thing in media.items()}
        surveys = {}
        for name in self.modalities:
            with registry.MODALITIES.running(name):
                of_training = (divided(name, entry, medium)[0] for medium in variants(paired_media[name]))
                surveys[name] = [registry.get(name).survey(medium) for medium in of_training]
        return surveys


class EncodedIds(NamedTuple):
    """Local ids in the smallest type that holds them, cut at the capacity, and counts of what encoding lost."""

    ids: np.ndarray
    lost: Mapping[str, int]


class EncodedExample(NamedTuple):
    """Document of an entry: slot -> ids of each variant; modality -> media of slots not encoded yet; part of it."""

    name: str
    ids: dict[str, list[EncodedIds]]
    media: Media
    val: bool = False


@dataclass(frozen=True, kw_only=True)
class SlotEncoder:
    """Encoder of a modality's media to the ids of a slot.

    Attributes:
        slot: of the ids.
        modality: of the media.
        tokenizer: of the slot.
        room: ids of an example at most; the rest is cut. None for any number.
        name: of the tokenizer in the registry, for error messages.
    """

    slot: str
    modality: str
    tokenizer: Tokenizer
    room: int | None
    name: str = ""

    def __call__(self, media: Sequence[Any]) -> list[EncodedIds]:
        return [self._cut(ids, lost) for ids, lost in encode_media(self.slot, self.name, self.tokenizer, media)]

    def _cut(self, ids: np.ndarray, lost: Mapping[str, int]) -> EncodedIds:
        over = 0 if self.room is None else max(0, len(ids) - self.room)
        if over:
            lost = {**lost, f"{self.slot} tokens cut": over}
        return EncodedIds(narrow(ids[: self.room], len(self.tokenizer.block), self.slot), lost)

    @property
    def travels(self) -> bool:
        """True if other processes can encode: not with a network, nor with a tokenizer that cannot be pickled."""
        if isinstance(self.tokenizer, CodecTokenizer):
            return False
        try:
            return bool(pickle.dumps(self.tokenizer))
        except Exception:  # of any type: another package's tokenizer may hold anything
            return False

    def ready(self) -> SlotEncoder:
        """Return this encoder, or one with its codec moved to the GPU, if there is a codec and a GPU."""
        if isinstance(self.tokenizer, CodecTokenizer) and torch.cuda.is_available():
            return replace(self, tokenizer=self.tokenizer.to("cuda"))
        return self


@dataclass(frozen=True)
class EncodingJob:
    """Job that encodes the media of an entry to examples of a layout.

    Attributes:
        layout: of the examples.
        modalities: slot -> name of its modality.
        coders: of the slots that are encoded in this job.
    """

    layout: Layout
    modalities: Mapping[str, str]  # slot -> modality
    coders: Sequence[SlotEncoder]

    def __call__(self, entry: Entry, media: Media) -> list[EncodedExample]:
        return [
            EncodedExample(
                name,
                {coder.slot: coder(variants(media_by_name[coder.modality])) for coder in self.coders},
                {name: media_by_name[name] for name in self._later},
                val,
            )
            for name, val, media_by_name in self._documents(entry, media)
        ]

    @cached_property
    def _later(self) -> set[str]:
        """Modalities of the slots that are encoded after this job."""
        coded = {coder.slot for coder in self.coders}
        return {name for slot, name in self.modalities.items() if slot not in coded}

    def _documents(self, entry: Entry, media: Media) -> Iterable[tuple[str, bool, Media]]:
        """Split an entry into documents: those of a medium alone, such as text, and in an open slot parts of long ones.

        A side of a preference pair is judged as one document, its first.
        """
        val = entry.val_start is not None
        if is_multimodal(media):
            return [(entry.name, val, {name: paired(name, medium) for name, medium in media.items()})]
        name = self.modalities[self.layout.target.name]
        modality = registry.get(name)
        with registry.MODALITIES.running(name):
            if entry.side:
                return [(entry.name, val, {**media, name: modality.separate(media[name])[0]})]
            split = modality.documents if self.layout.target.length is None else modality.separate
            parts = [
                (val, {**media, name: document})
                for val, part in zip((False, True), divided(name, entry, media[name]))
                for document in (split(part) if part is not None else ())
            ]
        if len(parts) == 1:
            return [(entry.name, *parts[0])]
        return [(f"{entry.name}#{i}", *part) for i, part in enumerate(parts)]


def encode(
    reader: Reader, layout: Layout, modalities: Mapping[str, str], tokenizers: Mapping[str, Tokenizer],
    names: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[tuple[Entry, EncodedExample]]:  # fmt: skip
    """Encode all entries of a layout.

    Args:
        reader: `Reader` of the entries.
        layout: `Layout` of the examples.
        modalities: slot -> name of the modality, of the slots that are encoded.
        tokenizers: slot -> tokenizer.
        names: slot -> name of its tokenizer in the registry, for error messages.

    Yields:
        (`Entry`, `EncodedExample`, its document encoded) in order; several documents of one entry follow each other.
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
    """Group consecutive documents for encoding in batches.

    Args:
        pieces: (`Entry`, `EncodedExample`) in order.

    Yields:
        Lists of the same pairs, at most ENCODED_AT_ONCE, that end where their media reach ENCODED_AT_ONCE_BYTES.
    """
    group: list[tuple[Entry, EncodedExample]] = []
    taken = 0
    for entry, piece in pieces:
        group.append((entry, piece))
        taken += sum(getattr(media, "nbytes", 0) for thing in piece.media.values() for media in variants(thing))
        if len(group) == ENCODED_AT_ONCE or taken >= ENCODED_AT_ONCE_BYTES:
            yield group
            group, taken = [], 0
    if group:
        yield group


def paired(name: str, media: Any) -> Any:
    """Convert media to their form beside other media, such as a text without its line breaks.

    Args:
        name: of the modality.
        media: an object of the modality, such as a `str` of text, or `Variants` of it.

    Returns:
        The converted object, or `Variants` of converted ones.
    """
    modality = registry.get(name)
    with registry.MODALITIES.running(name):
        return Variants(map(modality.paired, media)) if isinstance(media, Variants) else modality.paired(media)


def divided(name: str, entry: Entry, media: Any) -> tuple[Any, Any]:
    """Divide the media of an entry into their training and their validation part.

    Args:
        name: of the modality.
        entry: `Entry`, marked.
        media: of its file.

    Returns:
        (part for training, part for validation), None where there is none.
    """
    if entry.val_start == 0:
        return None, media
    if entry.val_start is None or name not in entry.files:  # a label has no parts
        return media, None
    divide = registry.get(name).divide
    assert divide is not None, "only divisible media are divided"
    with registry.MODALITIES.running(name):
        return divide(media, entry.val_start / size(entry.files[name]))
