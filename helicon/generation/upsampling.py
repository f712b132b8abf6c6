"""Sound over several levels: a model makes the coarsest codes, upsamplers the finer ones, one in memory at a time.

What each level made is kept on disk as it goes, so that the same request goes on where it was stopped
(arXiv:2005.00341, section 4.2; its upsamplers are guided by the codes above them).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from helicon.bundle.bundle import Bundle
from helicon.bundle.storage import find_bundle
from helicon.bundle.upsamplers import upsamplers_of
from helicon.formats.files import write_json
from helicon.generation.decode_request import Sampling
from helicon.generation.engine import OnStep, decode
from helicon.generation.generate import generate
from helicon.generation.item import Item
from helicon.generation.prompts import choose_layout, make_prompt
from helicon.generation.request import Request
from helicon.generation.resume_store import ResumeStore, request_key
from helicon.generation.runtime import RuntimeConfig
from helicon.gpt.sampler import methods
from helicon.modalities import registry
from helicon.sampling import SamplingOptions
from helicon.sequence.layout import Layout
from helicon.tokenizers.sound_codes import SoundCodesTokenizer

LEVEL_APART = 1_000_003  # between the seeds of levels, whose draws are to be independent
AT_A_TIME = 8  # items that an upsampler makes together, and after which they are kept

ABOVE = "above"  # slot of the codes by which an upsampler is guided

# Told of each level's model before it starts, the layout that it makes, and what of it is made
Watch = Callable[[Bundle, Layout, str], OnStep | None]


@dataclass(frozen=True)
class GenerationResult:
    """Items, and the hash of the model that made them: of the finest level."""

    items: list[Item]
    model_hash: str


def generate_levels(model: Path, request: Request, runtime: RuntimeConfig, out: Path, watch: Watch) -> GenerationResult:
    """Items of the finest level, each trimmed to what was asked for; what each level made lies below `out`/levels.

    What the model makes besides sound has one level. RequestError for what it cannot make.
    """
    folder = find_bundle(model)
    store = ResumeStore(out / "levels", request_key(folder, request, runtime))
    made = _top(folder, request, runtime, store, watch)
    for path in upsamplers_of(folder) if ABOVE in made.items[0].modality.slots else []:
        gc.collect()
        made = _finer(path, made.items, request, runtime, store, watch)
    return made


def _top(folder: Path, request: Request, runtime: RuntimeConfig, store: ResumeStore, watch: Watch) -> GenerationResult:
    """Items of the coarsest level."""
    bundle = runtime.load(folder)
    layout = choose_layout(bundle, request)
    level, marks = level_of(bundle, layout), store.record("items")
    found = [store.get(level, place) for place in range(request.count)]
    whole = [ids for ids in found if ids is not None]
    if marks and len(whole) == len(found):
        return GenerationResult(_items(bundle, layout, whole, marks, request), bundle.hash())
    items = generate(bundle, request, watch(bundle, layout, level))
    for place, item in enumerate(items):
        store.put(level, place, item.ids)
    write_json(store.folder / "items.json", [[item.number, item.score] for item in items])
    _write(items, store.folder / level)
    return GenerationResult(items, bundle.hash())


def _finer(
    path: Path, items: Sequence[Item], request: Request, runtime: RuntimeConfig, store: ResumeStore, watch: Watch
) -> GenerationResult:
    """The same items at the next finer level."""
    bundle = runtime.load(path)
    layout = bundle.schema.layouts[0]
    guide, level = layout.target.guide, level_of(bundle, layout)
    assert guide is not None
    slots = {slot.name for slot in layout.slots[:-1]}
    given = {slot: value for slot, value in request.given.items() if slot in slots}
    asked = replace(request, given=given, to=None, tokens=None, guidance=1.0, best_of=None, by=SamplingOptions.by)
    prompt, _ = make_prompt(bundle, layout, asked)
    chain = methods(request)
    seed = request.seed + LEVEL_APART * _hop(bundle, layout)
    sampling = Sampling(chain=chain, seed=seed, max_tokens=None, overlap=request.overlap)
    found = {place: ids for place in range(len(items)) if (ids := store.get(level, place)) is not None}
    for first in range(0, len(items), AT_A_TIME):  # the same groups every time, since sums depend on the batch
        group = range(first, min(first + AT_A_TIME, len(items)))
        if not found.keys() >= set(group):
            prompts = [replace(prompt, conditions={**prompt.conditions, guide: items[place].ids}) for place in group]
            numbers = [items[place].number for place in group]
            on_step = watch(bundle, layout, f"{level}, items {group[0]} to {group[-1]}")
            made = decode(bundle.gpt, bundle.sequencer, layout, prompts, sampling, numbers, on_step)
            for place, ids in zip(group, made):
                found[place] = ids
                store.put(level, place, ids)
    marks = [(item.number, item.score) for item in items]
    finer = _items(bundle, layout, [found[place] for place in range(len(items))], marks, request)
    _write(finer, store.folder / level)
    return GenerationResult(finer, bundle.hash())


def _items(
    bundle: Bundle, layout: Layout, ids: Sequence[np.ndarray], marks: Sequence[Any], request: Request
) -> list[Item]:  # fmt: skip
    """Items of ids, decoded; marks: (number, score) of each."""
    name = layout.target.name
    modality = registry.for_slot(name, layout.all_slots)
    media = bundle.decode(name, ids)
    if request.seconds is not None:
        media = [modality.trim(each, request.seconds) for each in media]
    return [
        Item(number=number, media=each, ids=own, modality=modality, score=score)
        for (number, score), each, own in zip(marks, media, ids)
    ]


def level_of(bundle: Bundle, layout: Layout) -> str:
    """What a level is called: `hop-128`; by its slot, where that has one level."""
    hop = _hop(bundle, layout)
    return f"hop-{hop}" if hop else layout.target.name


def _hop(bundle: Bundle, layout: Layout) -> int:
    """Samples a token of the slot that is made; 0 where it has no codec of sound."""
    tokenizer = bundle.sequencer.tokenizers[layout.target.name]
    return tokenizer.hop if isinstance(tokenizer, SoundCodesTokenizer) else 0


def _write(items: Sequence[Item], folder: Path) -> None:
    """What a level alone sounds like."""
    for number, item in enumerate(items):
        item.modality.write(item.media, folder / f"{number:03d}{item.modality.suffixes[0]}")
