"""Media in, media out: what is asked for becomes prompts, what is sampled becomes files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from helicon.bundle import Bundle
from helicon.decoding import OnStep, Prompt, Sampling, decode
from helicon.formats.printable import printable
from helicon.gpt.sampler import methods
from helicon.modalities import registry
from helicon.modalities.base import Modality
from helicon.scoring import fit_to_conditions
from helicon.sequence.layout import Layout
from helicon.tokenizers.guides import most_ids
from helicon.tokenizers.names import unknown

MOST_ITEMS, MOST_TOKENS, MOST_SECONDS = 10_000, 10_000_000, 86_400  # of one request: more would not end
MOST_SEED = 2**63 - 1


class RequestError(ValueError):
    """What was asked for cannot be made by this model; the message names it and says what can."""


@dataclass(frozen=True)
class Request:
    """What to make.

    given: slot -> what was typed for it (words, text or a file). to: the slot to make, where a model makes several.
    prime: a file to continue. keep: how much of it, `8s` or a share such as `0.5`; all of it unless given.
    seconds, tokens: how long; as long as the model likes, at most its context, unless given.
    guidance: above 1, how much more to heed what is given. best_of: how many to make, of which `count` are kept: those
    that fit what is given best.
    """

    count: int = 1
    seed: int = 0
    given: Mapping[str, str] = field(default_factory=dict)
    to: str | None = None
    prime: Path | None = None
    keep: str | None = None
    seconds: float | None = None
    tokens: int | None = None
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    overlap: float = 0.5
    guidance: float = 1.0
    best_of: int | None = None

    def __post_init__(self) -> None:
        if self.best_of is not None and self.best_of < self.count:
            raise RequestError(f"--best-of {self.best_of}: the best {self.count} are to be kept of at least as many")
        _check("-n", self.count, 1, MOST_ITEMS)
        _check("--best-of", self.best_of, 1, MOST_ITEMS)
        _check("--seed", self.seed, 0, MOST_SEED)
        _check("--tokens", self.tokens, 1, MOST_TOKENS)
        if self.seconds is not None and not 0 < self.seconds <= MOST_SECONDS:
            raise RequestError(f"--seconds must be above 0 and at most {MOST_SECONDS:,}, got {self.seconds:g}")
        if self.keep is not None and self.prime is None:
            raise RequestError("--keep says how much of --prime FILE to keep; no --prime was given")


@dataclass(frozen=True)
class Item:
    """One result: its number, the medium, the local ids it was decoded from, and the modality that can write it.

    score: how well it fits what was given, of items that were ranked.
    """

    number: int
    media: Any
    ids: np.ndarray
    modality: Modality
    score: float | None = None


def _check(option: str, value: int | None, least: int, most: int) -> None:
    if value is not None and not least <= value <= most:
        raise RequestError(f"{option} must be {least} to {most:,}, got {printable(value, 40)}")


def choose_layout(bundle: Bundle, request: Request) -> Layout:
    """The first layout that makes `to` and has a place for everything given, as a condition where one has.

    RequestError names what there is.
    """
    layouts = bundle.schema.layouts
    slots = {slot for layout in layouts for slot in layout.sources}
    for name in [*request.given, *([request.to] if request.to else [])]:
        if name not in slots:
            raise RequestError(f"{unknown('slot', name, sorted(slots))} (this model: {'; '.join(map(str, layouts))})")
    made = [layout for layout in layouts if request.to in (None, layout.last.name)]
    if request.prime is not None:
        made = [m for m in made if request.prime.suffix.lower() in registry.for_slot(m.last.name, m.sources).suffixes]
        if not made:
            accepted = {s for y in layouts for s in registry.for_slot(y.last.name, y.sources).suffixes}
            raise RequestError(f"--prime {request.prime}: this model continues {' '.join(sorted(accepted))} files")
    fitting = [layout for layout in made if set(request.given) <= set(layout.sources)]
    if fitting:
        return min(fitting, key=lambda layout: layout.last.name in request.given)
    asked = " and ".join(f"--{name}" for name in request.given) or "nothing given"
    raise RequestError(f"no layout of this model takes {asked}; it has: {'; '.join(map(str, layouts))}")


def make_prompt(bundle: Bundle, layout: Layout, request: Request) -> tuple[Prompt, dict[str, Any]]:
    """What every item starts from, and the media of the conditions by slot."""
    tokenizers = bundle.sequencer.tokenizers
    names = [slot for slot in layout.sources if slot != layout.last.name]
    conditions = {slot: _condition(bundle, layout, slot, request) for slot in names}
    given, wishes, most = {}, {}, most_ids(layout, tokenizers)
    for slot, media in conditions.items():
        tokenizer, length = tokenizers[slot], most[slot]
        given[slot] = np.zeros(0, np.int64) if media is None else tokenizer.encode(media)
        if length is not None and len(given[slot]) > length:
            raise RequestError(f"--{slot}: {len(given[slot])} tokens, this model takes {length}")
        wishes_of = getattr(tokenizer, "wishes", None)
        wishes.update(wishes_of(media) if wishes_of and media is not None else {})
    automaton = tokenizers[layout.last.name].automaton
    if request.seconds is not None:
        if automaton is None:
            raise RequestError(f"--seconds: {layout.last.name} has no time; --tokens N says how much to make")
        wishes["seconds"] = request.seconds
    return Prompt(given, _prime(bundle, layout, request), wishes), conditions


def _condition(bundle: Bundle, layout: Layout, slot: str, request: Request) -> Any:
    """Media of a slot before the last, as they are beside other media, or None."""
    media = _typed(bundle, layout, slot, request)
    return None if media is None else registry.for_slot(slot, layout.sources).paired(media)


def _typed(bundle: Bundle, layout: Layout, slot: str, request: Request) -> Any:
    """Media of what was given: of a file of that name, of the words typed, or None when it is left out."""
    tokenizer, modality = bundle.sequencer.tokenizers[slot], registry.for_slot(slot, layout.sources)
    text = request.given.get(slot)
    path = Path(text or "")
    # os.path, because a text of a megabyte, which names no file, is an error to Path.is_file
    if text and path.suffix.lower() in modality.suffixes and os.path.isfile(text):
        return _read(modality, path, bundle)
    parse: Callable[[str], Any] | None = getattr(tokenizer, "parse", None) or modality.typed
    if parse is None:
        if text is None:
            return None
        raise RequestError(f"--{slot} {text}: no such file; {' '.join(sorted(modality.suffixes))} files are accepted")
    return parse(text or "")


def _read(modality: Modality, path: Path, bundle: Bundle) -> Any:
    try:
        return modality.read(path, options=bundle.reading)[0]
    except ValueError as error:
        raise RequestError(f"{path}: {error}") from None


def _prime(bundle: Bundle, layout: Layout, request: Request) -> np.ndarray:
    """Ids that the made slot begins with; RequestError when they fill it."""
    name, length = layout.last.name, layout.last.length
    modality, tokenizer = registry.for_slot(name, layout.sources), bundle.sequencer.tokenizers[name]
    if request.prime is not None:
        if not request.prime.is_file():
            raise RequestError(f"--prime {request.prime}: no such file")
        media = _read(modality, request.prime, bundle)
        ids = tokenizer.encode(modality.keep(media, request.keep) if request.keep else media)
        said = f"--prime {request.prime}"
    elif name in request.given:
        ids, said = tokenizer.encode(_typed(bundle, layout, name, request)), f"--{name}"
    else:
        return np.zeros(0, np.int64)
    rate = getattr(tokenizer, "rate", None)
    if rate and request.seconds is not None and len(ids) >= request.seconds * rate:
        hint = "--keep 2s keeps the beginning of a file"
        raise RequestError(f"{said}: {len(ids) / rate:.2f} s of {request.seconds:g}, nothing is left to make; {hint}")
    if length is not None and len(ids) >= length:
        hint = "--prime FILE --keep 0.5 keeps half of a file"
        raise RequestError(f"{said}: {len(ids)} tokens of {length}, nothing is left to make; {hint}")
    return ids


def generate(bundle: Bundle, request: Request, on_step: OnStep | None = None) -> list[Item]:
    """`count` items; each depends on (weights, request, seed, its number) alone.

    RequestError for what this model cannot make; ValueError names a setting out of range.
    """
    layout = choose_layout(bundle, request)
    prompt, conditions = make_prompt(bundle, layout, request)
    chain = methods(
        request.temperature, request.top_k, request.top_p, request.min_p, request.repetition_penalty
    )  # fmt: skip
    longest = request.tokens
    guide = layout.last.guide
    guided = guide is not None and len(prompt.given[guide]) > 0  # and therefore as long as its guide
    if longest is None and request.seconds is None and not guided:
        room = bundle.sequencer.room(layout) + 1
        longest = max(room - len(prompt.prime), room // 2)  # a prime that fills the context is to be continued too
    if request.guidance != 1 and len(layout.sources) == 1:
        raise RequestError(f"--guidance {request.guidance:g}: this model takes no conditions")
    sampling = Sampling(chain, request.seed, longest, request.overlap, request.guidance)
    if request.best_of is not None:
        _check_ranking(layout, prompt, request)
    candidates = request.best_of or request.count
    made = decode(bundle.gpt, bundle.sequencer, layout, [prompt] * candidates, sampling, on_step=on_step)
    ranked = _ranked(bundle, layout, prompt, made, request)
    name = layout.last.name
    modality = registry.for_slot(name, layout.sources)
    media = modality.decode(bundle.sequencer.tokenizers[name], [made[number] for number, _ in ranked])
    if request.seconds is not None:
        media = [modality.trim(each, request.seconds) for each in media]
    parts = set(modality.slots) - {guide}  # a guide is another rendering of the medium, no part of it
    known = {slot: media for slot, media in conditions.items() if slot in parts and media is not None}
    return [
        Item(number, modality.join({**known, name: each}), made[number], modality, score)
        for (number, score), each in zip(ranked, media)
    ]


def _check_ranking(layout: Layout, prompt: Prompt, request: Request) -> None:
    """RequestError unless what is made can be ranked by how well it fits what is given."""
    length = layout.last.length
    if length is None or not any(map(len, prompt.given.values())):
        raise RequestError("--best-of ranks what is made by how well it fits what is given: a caption, for a picture")
    if layout.last.grid and request.tokens is not None and len(prompt.prime) + request.tokens < length:
        raise RequestError(f"--best-of ranks what is whole: {layout.last} has {length} tokens; leave out --tokens")


def _ranked(
    bundle: Bundle, layout: Layout, prompt: Prompt, made: list[np.ndarray], request: Request
) -> list[tuple[int, float | None]]:  # fmt: skip
    """(number, score) of the candidates that are kept: all, or the best ones first."""
    if request.best_of is None:
        return [(number, None) for number in range(len(made))]
    given = {slot: ids for slot, ids in prompt.given.items() if len(ids)}
    scores = fit_to_conditions(bundle, layout, given, made).tolist()
    best = sorted(range(len(made)), key=lambda number: -scores[number])
    return [(number, scores[number]) for number in best[: request.count]]


def choose_device(name: str, numbers: str = "fp32") -> torch.device:
    """`auto` is CUDA, else Apple's MPS, which has no fp64, else the CPU; RequestError when there is none as asked for.

    numbers: one of the formats of gpt/numbers.py.
    """
    mps = torch.backends.mps.is_available() and numbers != "fp64"
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": mps}
    if name == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if there[kind]))
    if not there.get(name, False):
        found = ", ".join(kind for kind in there if there[kind])
        raise RequestError(f"--device {name}: not on this machine, or not in {numbers}; there is: {found}")
    return torch.device(name)
