"""Sound over several levels: a model makes the coarsest codes, upsamplers the finer ones, one in memory at a time.

What each level made is kept on disk as it goes, so that the same request goes on where it was stopped
(arXiv:2005.00341, section 4.2; its upsamplers are guided by the codes above them).
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from helicon.bundle import CONFIG, WEIGHTS, Bundle, find_bundle, load_bundle, upsamplers_of
from helicon.decoding import OnStep, Sampling, decode
from helicon.formats.files import atomic_write, write_json
from helicon.generate import Item, Request, RequestError, choose_layout, generate, make_prompt
from helicon.gpt.numbers import convert
from helicon.gpt.sampler import methods
from helicon.modalities import registry
from helicon.sequence.layout import Layout

LEVEL_APART = 1_000_003  # between the seeds of levels, whose draws are to be independent
AT_A_TIME = 8  # items that an upsampler makes together, and after which they are kept

ABOVE = "above"  # slot of the codes by which an upsampler is guided

# Told of each level's model before it starts, the layout that it makes, and what of it is made
Watch = Callable[[Bundle, Layout, str], OnStep | None]


@dataclass(frozen=True)
class Where:
    """What models run on, and in which of the number formats of gpt/numbers.py."""

    device: torch.device
    numbers: str = "fp32"

    def load(self, folder: Path) -> Bundle:
        """A bundle there."""
        bundle = load_bundle(folder, self.device)
        convert(bundle.gpt, self.numbers)
        return bundle


class Kept:
    """Ids of each level and item below a folder, of one request to one model; those of another are removed.

    RequestError for a folder with something in it that is of no request.
    """

    def __init__(self, folder: Path, key: str) -> None:
        self.folder, record = folder, folder / "request.json"
        there = sorted(folder.iterdir()) if folder.is_dir() else []
        if there and record not in there:
            raise RequestError(f"{folder} has something else in it; levels are kept there, choose another -o")
        if self.record("request") != {"key": key}:
            for path in there:
                if path != record:  # which goes last, or the rest would be of no request
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            write_json(record, {"key": key})

    def record(self, name: str) -> Any:
        """What was written as JSON, if it is whole."""
        try:
            return json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def get(self, level: str, place: int) -> np.ndarray | None:
        """Ids, if they were made and are whole."""
        try:
            # Mapped, so that a header which claims more than the file holds allocates nothing
            ids = np.load(self._path(level, place), mmap_mode="r", allow_pickle=False)
            return np.array(ids, np.int64) if isinstance(ids, np.ndarray) and ids.ndim == 1 else None
        except Exception:  # whatever NumPy comes upon in bytes that are none of its files
            return None

    def put(self, level: str, place: int, ids: np.ndarray) -> None:
        """Keeps them, whole or not at all."""
        with atomic_write(self._path(level, place)) as temporary, open(temporary, "wb") as file:
            np.save(file, ids.astype(np.int32))

    def _path(self, level: str, place: int) -> Path:
        return self.folder / level / f"{place:03d}.npy"


def request_key(folder: Path, request: Request, where: Where) -> str:
    """Hash of all that the result depends on: the models, the request, the files that it names."""
    digest = hashlib.sha256(json.dumps([asdict(request), str(where)], default=str, sort_keys=True).encode())
    paths = [bundle / name for bundle in (folder, *upsamplers_of(folder)) for name in (CONFIG, WEIGHTS)]
    named = [*request.given.values(), *([str(request.prime)] if request.prime else [])]
    # os.path, because a long text, which names no file, is an error to Path.is_file
    for path in [*paths, *(name for name in named if os.path.isfile(name))]:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


@dataclass(frozen=True)
class Made:
    """Items, and the hash of the model that made them: of the finest level."""

    items: list[Item]
    model_hash: str


def generate_levels(model: Path, request: Request, where: Where, out: Path, watch: Watch) -> Made:
    """Items of the finest level, each trimmed to what was asked for; what each level made lies below `out`/levels.

    What the model makes besides sound has one level. RequestError for what it cannot make.
    """
    folder = find_bundle(model)
    kept = Kept(out / "levels", request_key(folder, request, where))
    made = _top(folder, request, where, kept, watch)
    for path in upsamplers_of(folder) if ABOVE in made.items[0].modality.slots else []:
        gc.collect()
        made = _finer(path, made.items, request, where, kept, watch)
    return made


def _top(folder: Path, request: Request, where: Where, kept: Kept, watch: Watch) -> Made:
    """Items of the coarsest level."""
    bundle = where.load(folder)
    layout = choose_layout(bundle, request)
    level, marks = level_of(bundle, layout), kept.record("items")
    found = [kept.get(level, place) for place in range(request.count)]
    whole = [ids for ids in found if ids is not None]
    if marks and len(whole) == len(found):
        return Made(_items(bundle, layout, whole, marks, request), bundle.hash())
    items = generate(bundle, request, watch(bundle, layout, level))
    for place, item in enumerate(items):
        kept.put(level, place, item.ids)
    write_json(kept.folder / "items.json", [[item.number, item.score] for item in items])
    _write(items, kept.folder / level)
    return Made(items, bundle.hash())


def _finer(path: Path, items: Sequence[Item], request: Request, where: Where, kept: Kept, watch: Watch) -> Made:
    """The same items at the next finer level."""
    bundle = where.load(path)
    layout = bundle.schema.layouts[0]
    guide, level = layout.last.guide, level_of(bundle, layout)
    assert guide is not None
    slots = {slot.name for slot in layout.slots[:-1]}
    given = {slot: value for slot, value in request.given.items() if slot in slots}
    asked = replace(request, given=given, to=None, tokens=None, guidance=1.0, best_of=None)
    prompt, _ = make_prompt(bundle, layout, asked)
    chain = methods(request.temperature, request.top_k, request.top_p, request.min_p, request.repetition_penalty)
    seed = request.seed + LEVEL_APART * bundle.sequencer.tokenizers[layout.last.name].hop  # type: ignore[attr-defined]
    sampling = Sampling(chain, seed, None, request.overlap)
    found = {place: ids for place in range(len(items)) if (ids := kept.get(level, place)) is not None}
    for first in range(0, len(items), AT_A_TIME):  # the same groups every time, since sums depend on the batch
        group = range(first, min(first + AT_A_TIME, len(items)))
        if not found.keys() >= set(group):
            prompts = [replace(prompt, given={**prompt.given, guide: items[place].ids}) for place in group]
            numbers = [items[place].number for place in group]
            on_step = watch(bundle, layout, f"{level}, items {group[0]} to {group[-1]}")
            made = decode(bundle.gpt, bundle.sequencer, layout, prompts, sampling, numbers, on_step)
            for place, ids in zip(group, made):
                found[place] = ids
                kept.put(level, place, ids)
    marks = [(item.number, item.score) for item in items]
    finer = _items(bundle, layout, [found[place] for place in range(len(items))], marks, request)
    _write(finer, kept.folder / level)
    return Made(finer, bundle.hash())


def _items(
    bundle: Bundle, layout: Layout, ids: Sequence[np.ndarray], marks: Sequence[Any], request: Request
) -> list[Item]:  # fmt: skip
    """Items of ids, decoded; marks: (number, score) of each."""
    name = layout.last.name
    modality = registry.for_slot(name, layout.sources)
    media = modality.decode(bundle.sequencer.tokenizers[name], ids)
    if request.seconds is not None:
        media = [modality.trim(each, request.seconds) for each in media]
    return [Item(number, each, own, modality, score) for (number, score), each, own in zip(marks, media, ids)]


def level_of(bundle: Bundle, layout: Layout) -> str:
    """What a level is called: `hop-128`; by its slot, where that has one level."""
    hop = getattr(bundle.sequencer.tokenizers[layout.last.name], "hop", None)
    return f"hop-{hop}" if hop else layout.last.name


def _write(items: Sequence[Item], folder: Path) -> None:
    """What a level alone sounds like."""
    for number, item in enumerate(items):
        item.modality.write(item.media, folder / f"{number:03d}{item.modality.suffixes[0]}")
