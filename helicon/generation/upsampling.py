"""Sound over several levels: a model makes the coarsest codes, upsamplers the finer ones, one in memory at a time.

Upsamplers are conditioned on the codes of the level above (Jukebox, arXiv:2005.00341, section 4.2). The ids of each
level are stored as they are completed, so that the same request resumes where it was stopped.
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
from helicon.gpt.sampler import logits_processors
from helicon.modalities import registry
from helicon.sampling import SamplingOptions
from helicon.sequence.layout import Layout
from helicon.tokenizers.sound_codes import SoundCodesTokenizer

LEVEL_SEED_STRIDE = 1_000_003  # a prime: between the seeds of levels, so that their samples are independent
BATCH_SIZE = 8  # items that an upsampler decodes together, and then stores

COARSE_SLOT = "above"  # slot of the upsampling condition

# Progress hook `(bundle, layout, label) -> on_step`, called before each level
ProgressHook = Callable[[Bundle, Layout, str], OnStep | None]


@dataclass(frozen=True)
class GenerationResult:
    """Items of the finest level, and the hash of the model that made them."""

    items: list[Item]
    model_hash: str


def generate_levels(
    model: Path, request: Request, runtime: RuntimeConfig, out: Path, hook: ProgressHook
) -> GenerationResult:
    """Generate items by all levels of a model; media without upsamplers have one level.

    Args:
        model: folder of the run or bundle of the coarsest level; its upsamplers belong to it.
        request: conditions, length and sampling options.
        runtime: `RuntimeConfig`, device and number format of all levels.
        out: folder; ids and media of each level are kept in `out`/levels.
        hook: called before each level with bundle, layout and name of the level; returns what is called after each
            decoding step, or None.

    Returns:
        `GenerationResult`: items of the finest level, trimmed to the requested length, and the model's hash.

    Raises:
        RequestError: the model cannot make the request.
    """
    folder = find_bundle(model)
    store = ResumeStore(out / "levels", request_key(folder, request, runtime))
    result = _top(folder, request, runtime, store, hook)
    for path in upsamplers_of(folder) if COARSE_SLOT in result.items[0].modality.slots else []:
        gc.collect()
        result = _finer(path, result.items, request, runtime, store, hook)
    return result


def _top(
    folder: Path, request: Request, runtime: RuntimeConfig, store: ResumeStore, hook: ProgressHook
) -> GenerationResult:
    """Generate the coarsest level, or restore it."""
    bundle = runtime.load(folder)
    layout = choose_layout(bundle, request)
    level, scores = level_name(bundle, layout), store.record("items")
    stored = [store.get(level, place) for place in range(request.count)]
    complete = [ids for ids in stored if ids is not None]
    if scores and len(complete) == len(stored):
        return GenerationResult(_items(bundle, layout, complete, scores, request), bundle.hash())
    items = generate(bundle, request, hook(bundle, layout, level))
    for place, item in enumerate(items):
        store.put(level, place, item.ids)
    write_json(store.folder / "items.json", [[item.number, item.score] for item in items])
    _write(items, store.folder / level)
    return GenerationResult(items, bundle.hash())


def _finer(
    path: Path, items: Sequence[Item], request: Request, runtime: RuntimeConfig, store: ResumeStore, hook: ProgressHook
) -> GenerationResult:
    """Upsample items to the next finer level, those that are not stored."""
    bundle = runtime.load(path)
    layout = bundle.schema.layouts[0]
    guide, level = layout.target.guide, level_name(bundle, layout)
    assert guide is not None
    slots = {slot.name for slot in layout.slots[:-1]}
    conditions = {slot: value for slot, value in request.conditions.items() if slot in slots}
    level_request = replace(
        request, conditions=conditions, to=None, tokens=None, guidance=1.0, best_of=None, by=SamplingOptions.by
    )
    prompt, _ = make_prompt(bundle, layout, level_request)
    chain = logits_processors(request)
    seed = request.seed + LEVEL_SEED_STRIDE * _hop(bundle, layout)
    sampling = Sampling(chain=chain, seed=seed, max_tokens=None, overlap=request.overlap)
    stored = {place: ids for place in range(len(items)) if (ids := store.get(level, place)) is not None}
    # The same groups at each resume, since floating-point sums depend on the batch
    for first in range(0, len(items), BATCH_SIZE):
        group = range(first, min(first + BATCH_SIZE, len(items)))
        if not stored.keys() >= set(group):
            prompts = [replace(prompt, conditions={**prompt.conditions, guide: items[place].ids}) for place in group]
            numbers = [items[place].number for place in group]
            on_step = hook(bundle, layout, f"{level}, items {group[0]} to {group[-1]}")
            outputs = decode(bundle.gpt, bundle.sequencer, layout, prompts, sampling, numbers, on_step)
            for place, ids in zip(group, outputs):
                stored[place] = ids
                store.put(level, place, ids)
    scores = [(item.number, item.score) for item in items]
    finer = _items(bundle, layout, [stored[place] for place in range(len(items))], scores, request)
    _write(finer, store.folder / level)
    return GenerationResult(finer, bundle.hash())


def _items(
    bundle: Bundle, layout: Layout, ids: Sequence[np.ndarray], scores: Sequence[Any], request: Request
) -> list[Item]:  # fmt: skip
    """Decode ids to items; `scores` has the (number, score) of each."""
    name = layout.target.name
    modality = registry.for_slot(name, layout.all_slots)
    media = bundle.decode(name, ids)
    if request.seconds is not None:
        media = [modality.trim(medium, request.seconds) for medium in media]
    return [
        Item(number=number, media=medium, ids=item_ids, modality=modality, score=score)
        for (number, score), medium, item_ids in zip(scores, media, ids)
    ]


def level_name(bundle: Bundle, layout: Layout) -> str:
    """Name a level after its codec's hop, or after the slot for media of one level.

    Args:
        bundle: `Bundle`, model of the level.
        layout: `Layout` that it generates.

    Returns:
        `hop-128`, where a code stands for 128 samples, or the name of the target slot.
    """
    hop = _hop(bundle, layout)
    return f"hop-{hop}" if hop else layout.target.name


def _hop(bundle: Bundle, layout: Layout) -> int:
    """Return the samples a token of the target slot; 0 without a codec of sound."""
    tokenizer = bundle.sequencer.tokenizers[layout.target.name]
    return tokenizer.hop if isinstance(tokenizer, SoundCodesTokenizer) else 0


def _write(items: Sequence[Item], folder: Path) -> None:
    """Write the media of one level, to be heard alone."""
    for number, item in enumerate(items):
        item.modality.write(item.media, folder / f"{number:03d}{item.modality.suffixes[0]}")
