"""Prompts from requests: choice of the layout, condition ids, prime."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from helicon.bundle.bundle import Bundle
from helicon.formats.nearest import unknown
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.formats.progress import log
from helicon.formats.quantities import quantity
from helicon.formats.read_report import repaired
from helicon.generation.decode_request import Prompt
from helicon.generation.request import Request, RequestError
from helicon.modalities import registry
from helicon.modalities.base import Modality, remedy
from helicon.plugins.plugin import PluginError
from helicon.sequence.layout import Layout
from helicon.tokenizers.abilities import Words
from helicon.tokenizers.base import rate_of
from helicon.tokenizers.guides import most_ids


def choose_layout(bundle: Bundle, request: Request) -> Layout:
    """Choose the first layout that generates `request.to` and has slots for all conditions.

    A layout that has the condition before its target slot wins over one that continues it.

    Args:
        bundle: `Bundle`, model.
        request: `Request`: conditions, prime and target slot.

    Returns:
        The `Layout`, one of the model's.

    Raises:
        RequestError: no layout fits; the message lists the layouts or slots of the model.
    """
    layouts = bundle.schema.layouts
    slots = {slot for layout in layouts for slot in layout.all_slots}
    for name in [*request.conditions, *([request.to] if request.to else [])]:
        if name not in slots:
            raise RequestError(f"{unknown('slot', name, sorted(slots))} (this model: {'; '.join(map(str, layouts))})")
    candidates = [layout for layout in layouts if request.to in (None, layout.target.name)]
    if request.prime is not None:
        modality_of = {layout: registry.for_slot(layout.target.name, layout.all_slots) for layout in layouts}
        candidates = [y for y in candidates if modality_of[y].accepted_suffix(request.prime.name)]
        if not candidates:
            accepted = " ".join(sorted({s for modality in modality_of.values() for s in modality.suffixes}))
            hint = remedy(request.prime.name, modality_of.values())
            raise RequestError(
                f"--prime {request.prime}: this model continues {accepted} files{f'; {hint}' if hint else ''}"
            )
    fitting = [layout for layout in candidates if set(request.conditions) <= set(layout.all_slots)]
    if fitting:
        return min(fitting, key=lambda layout: layout.target.name in request.conditions)
    asked = " and ".join(f"--{name}" for name in request.conditions) or "nothing given"
    raise RequestError(f"no layout of this model takes {asked}; it has: {'; '.join(map(str, layouts))}")


def make_prompt(bundle: Bundle, layout: Layout, request: Request) -> tuple[Prompt, dict[str, Any]]:
    """Make the prompt of all items of a request.

    Args:
        bundle: `Bundle`, model.
        layout: `Layout` of the items.
        request: `Request`: conditions, prime and length.

    Returns:
        (`Prompt`, slot -> media object of the condition, None where it is left out).

    Raises:
        RequestError: a condition or prime that cannot be read, or that the layout has no room for.
    """
    tokenizers = bundle.sequencer.tokenizers
    names = [slot for slot in layout.all_slots if slot != layout.target.name]
    conditions = {slot: _condition(bundle, layout, slot, request) for slot in names}
    ids, constraints, most = {}, {}, most_ids(layout, tokenizers)
    for slot, media in conditions.items():
        tokenizer, length = tokenizers[slot], most[slot]
        ids[slot] = np.zeros(0, np.int64) if media is None else bundle.encode(slot, media)
        if length is not None and len(ids[slot]) > length:
            open_ids = bundle.sequencer.null_conditions({slot: ids[slot]}).get(slot)  # None unless words
            if open_ids is None or (ids[slot] != open_ids)[length:].any():
                raise RequestError(f"--{slot}: {len(ids[slot])} tokens, this model takes {length}")
            ids[slot] = ids[slot][:length]  # the ids cut off are open words, which say nothing
        if isinstance(tokenizer, Words) and media is not None:
            constraints.update(tokenizer.constraints(media))
    automaton = tokenizers[layout.target.name].automaton
    if request.seconds is not None:
        if automaton is None:
            raise RequestError(f"--seconds: {layout.target.name} has no time; --tokens N says how much to make")
        constraints["seconds"] = request.seconds
    return Prompt(ids, _prime(bundle, layout, request), constraints), conditions


def _condition(bundle: Bundle, layout: Layout, slot: str, request: Request) -> Any:
    """Return the medium of a condition slot as it is beside other media, or None."""
    media = _typed(bundle, layout, slot, request)
    return None if media is None else registry.for_slot(slot, layout.all_slots).paired(media)


def _typed(bundle: Bundle, layout: Layout, slot: str, request: Request) -> Any:
    """Read the medium of a slot from a file of that name, or parse it from words; None when it is left out."""
    tokenizer, modality = bundle.sequencer.tokenizers[slot], registry.for_slot(slot, layout.all_slots)
    text = request.conditions.get(slot)
    path = Path("" if slot in request.words else text or "")
    # os.path, because a text of a megabyte, which names no file, is an error to Path.is_file
    if text and modality.accepted_suffix(path.name) and os.path.isfile(path):
        return _read(modality, path, bundle)
    parse = tokenizer.parse if isinstance(tokenizer, Words) else modality.typed
    if parse is None:
        if text is None:
            return None
        raise RequestError(f"--{slot} {text}: no such file; {' '.join(sorted(modality.suffixes))} files are accepted")
    with _refusing():
        return parse(text or "")


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn a ValueError of a medium or plugin that refuses what is typed into a RequestError."""
    try:
        yield
    except PluginError:
        raise
    except ValueError as error:
        raise RequestError(str(error)) from error


def _read(modality: Modality, path: Path, bundle: Bundle) -> Any:
    try:
        media, counts = modality.read(path, options=bundle.reading)
    except ValueError as error:
        raise RequestError(f"{path}: {error}") from error
    if counts:
        log(repaired(counts, printable(path, MAX_QUOTED)))
    return media


def _prime(bundle: Bundle, layout: Layout, request: Request) -> np.ndarray:
    """Return the ids that the target slot begins with; RequestError when they fill it."""
    name, length = layout.target.name, layout.target.length
    modality, tokenizer = registry.for_slot(name, layout.all_slots), bundle.sequencer.tokenizers[name]
    if request.prime is not None:
        if not request.prime.is_file():
            raise RequestError(f"--prime {request.prime}: no such file")
        *_, media = modality.separate(_read(modality, request.prime, bundle))  # the last document is continued
        if request.keep:
            with _refusing():
                media = modality.keep(media, request.keep)
        ids = bundle.encode(name, media)
        option = f"--prime {request.prime}"
    elif name in request.conditions:
        ids, option = bundle.encode(name, _typed(bundle, layout, name, request)), f"--{name}"
    else:
        return np.zeros(0, np.int64)
    rate = rate_of(tokenizer)
    if rate and request.seconds is not None and len(ids) >= request.seconds * rate:
        hint = "--keep 2s keeps the beginning of a file"
        raise RequestError(f"{option}: {len(ids) / rate:.2f} s of {request.seconds:g}, nothing is left to make; {hint}")
    if length is not None and len(ids) >= length:
        hint = "--prime FILE --keep 0.5 keeps half of a file"
        raise RequestError(f"{option}: {len(ids):,} of {quantity(length, 'token')}, nothing is left to make; {hint}")
    return ids
