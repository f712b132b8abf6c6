"""Sound over several levels: a model makes the coarsest codes, upsamplers the finer ones, one in memory at a time.

What each level made is kept on disk as it goes, so that the same request goes on where it was stopped
(arXiv:2005.00341, section 4.2; its upsamplers are guided by the codes above them).
"""

from __future__ import annotations

import gc
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from helicon.bundle import CONFIG, WEIGHTS, Bundle, find_bundle, load_bundle, upsamplers_of
from helicon.decoding import OnStep, Sampling, decode
from helicon.formats.files import atomic_write, write_json
from helicon.generate import Item, Request, generate, make_prompt
from helicon.gpt.sampler import methods
from helicon.modalities import registry

AT_A_TIME = 8  # items that an upsampler makes together, and after which they are kept

Watch = Callable[[Bundle, str], OnStep | None]  # told of each level's model before it starts, and what it makes


@dataclass(frozen=True)
class Where:
    """What models run on."""

    device: torch.device
    dtype: torch.dtype = torch.float32

    def load(self, folder: Path) -> Bundle:
        """A bundle there."""
        bundle = load_bundle(folder, self.device)
        bundle.gpt.to(self.dtype)
        return bundle


class Kept:
    """Ids of each level and item below a folder, of one request to one model; those of another are removed."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder
        record = folder / "request.json"
        if not record.is_file() or json.loads(record.read_text(encoding="utf-8")).get("key") != key:
            shutil.rmtree(folder, ignore_errors=True)
            write_json(record, {"key": key})

    def get(self, level: str, place: int) -> np.ndarray | None:
        """Ids, if they were made and are whole."""
        try:
            return np.load(self._path(level, place), allow_pickle=False).astype(np.int64)
        except (OSError, ValueError, EOFError):
            return None

    def put(self, level: str, place: int, ids: np.ndarray) -> None:
        """Keeps them, whole or not at all."""
        with atomic_write(self._path(level, place)) as temporary, open(temporary, "wb") as file:
            np.save(file, ids.astype(np.int32))

    def _path(self, level: str, place: int) -> Path:
        return self.folder / level / f"{place:03d}.npy"


def request_key(folder: Path, request: Request, where: Where) -> str:
    """Hash of all that the result depends on: the models, the request, the files that it names."""
    digest = hashlib.sha256()
    for bundle in [folder, *upsamplers_of(folder)]:
        for name in (CONFIG, WEIGHTS):
            digest.update((bundle / name).read_bytes())
    digest.update(json.dumps([asdict(request), str(where)], default=str, sort_keys=True).encode())
    for name in [*request.given.values(), *([str(request.prime)] if request.prime else [])]:
        path = Path(name)
        if len(name) < 1024 and path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def generate_levels(model: Path, request: Request, where: Where, out: Path, watch: Watch) -> list[Item]:
    """Items of the finest level, each trimmed to what was asked for; what each level made lies below `out`/levels.

    RequestError for what the model cannot make.
    """
    folder = find_bundle(model)
    kept = Kept(out / "levels", request_key(folder, request, where))
    items = _top(folder, request, where, kept, watch)
    for path in upsamplers_of(folder):
        gc.collect()
        items = _finer(path, items, request, where, kept, watch)
    return items


def _top(folder: Path, request: Request, where: Where, kept: Kept, watch: Watch) -> list[Item]:
    """Items of the coarsest level."""
    record = kept.folder / "items.json"
    bundle = where.load(folder)
    level = level_of(bundle)
    found = [kept.get(level, place) for place in range(request.count)]
    if record.is_file() and all(ids is not None for ids in found):
        numbers = json.loads(record.read_text(encoding="utf-8"))
        return _items(bundle, [ids for ids in found if ids is not None], numbers, request)
    items = generate(bundle, request, watch(bundle, level))
    for place, item in enumerate(items):
        kept.put(level, place, item.ids)
    write_json(record, [[item.number, item.score] for item in items])  # type: ignore[arg-type]
    _write(items, kept.folder / level)
    return items


def _finer(path: Path, items: Sequence[Item], request: Request, where: Where, kept: Kept, watch: Watch) -> list[Item]:
    """The same items at the next finer level."""
    bundle = where.load(path)
    layout = bundle.schema.layouts[0]
    guide, level = layout.last.guide, level_of(bundle)
    assert guide is not None
    slots = {slot.name for slot in layout.slots[:-1]}
    given = {slot: value for slot, value in request.given.items() if slot in slots}
    asked = replace(request, given=given, to=None, tokens=None, guidance=1.0, best_of=None)
    prompt, _ = make_prompt(bundle, layout, asked)
    chain = methods(request.temperature, request.top_k, request.top_p, request.min_p, request.repetition_penalty)
    sampling = Sampling(chain, request.seed, None, request.overlap)
    found = {number: ids for number in range(len(items)) if (ids := kept.get(level, number)) is not None}
    missing = iter([number for number in range(len(items)) if number not in found])
    while group := list(islice(missing, AT_A_TIME)):
        prompts = [replace(prompt, given={**prompt.given, guide: items[number].ids}) for number in group]
        numbers = [items[number].number for number in group]
        told = f"{level}, items {group[0]} to {group[-1]}"
        made = decode(bundle.gpt, bundle.sequencer, layout, prompts, sampling, numbers, watch(bundle, told))
        for number, ids in zip(group, made):
            found[number] = ids
            kept.put(level, number, ids)
    marks = [(item.number, item.score) for item in items]
    finer = _items(bundle, [found[number] for number in range(len(items))], marks, request)
    _write(finer, kept.folder / level)
    return finer


def _items(bundle: Bundle, ids: Sequence[np.ndarray], marks: Sequence[Any], request: Request) -> list[Item]:
    """Items of ids, decoded; marks: (number, score) of each."""
    name = bundle.schema.layouts[0].last.name
    modality = registry.for_slot(name)
    media = modality.decode(bundle.sequencer.tokenizers[name], ids)
    if request.seconds is not None:
        media = [modality.trim(each, request.seconds) for each in media]
    return [Item(number, each, own, modality, score) for (number, score), each, own in zip(marks, media, ids)]


def level_of(bundle: Bundle) -> str:
    """What a level is called: `hop-128`."""
    return f"hop-{bundle.sequencer.tokenizers[bundle.schema.layouts[0].last.name].hop}"  # type: ignore[attr-defined]


def _write(items: Sequence[Item], folder: Path) -> None:
    """What a level alone sounds like."""
    for number, item in enumerate(items):
        item.modality.write(item.media, folder / f"{number:03d}{item.modality.suffixes[0]}")
