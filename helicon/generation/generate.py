"""Media in, media out: what is asked for becomes prompts, what is sampled becomes media."""

from __future__ import annotations

import numpy as np

from helicon.bundle.bundle import Bundle
from helicon.generation.decode_request import Prompt, Sampling
from helicon.generation.engine import OnStep, decode
from helicon.generation.item import Item
from helicon.generation.prompts import choose_layout, make_prompt
from helicon.generation.ranking import JUDGES, Candidates, fit, judged
from helicon.generation.request import Request, RequestError
from helicon.gpt.sampler import methods
from helicon.modalities import registry
from helicon.sequence.layout import Layout


def generate(bundle: Bundle, request: Request, on_step: OnStep | None = None) -> list[Item]:
    """`count` items; each depends on (weights, request, seed, its number) alone.

    RequestError for what this model cannot make; ValueError names a setting out of range.
    """
    layout = choose_layout(bundle, request)
    prompt, conditions = make_prompt(bundle, layout, request)
    chain = methods(request)
    longest, length = request.tokens, layout.target.length
    if longest is not None and length is not None and len(prompt.prime) + longest > length:
        given = f", {len(prompt.prime)} of them given" if len(prompt.prime) else ""
        raise RequestError(
            f"--tokens {longest}: {layout.target} has {length} tokens{given}, and cannot go on after them"
        )
    guide = layout.target.guide
    guided = guide is not None and len(prompt.conditions[guide]) > 0  # and therefore as long as its guide
    if longest is None and request.seconds is None and not guided:
        room = bundle.sequencer.target_capacity(layout) + 1
        longest = max(room - len(prompt.prime), room // 2)  # a prime that fills the context is to be continued too
        longest = longest if length is None else min(longest, length - len(prompt.prime)) or None
    if request.guidance != 1 and len(layout.all_slots) == 1:
        raise RequestError(f"--guidance {request.guidance:g}: this model takes no conditions")
    sampling = Sampling(
        chain=chain, seed=request.seed, max_tokens=longest, overlap=request.overlap, guidance=request.guidance
    )
    if request.best_of is not None and JUDGES.get(request.by) is fit:
        _check_ranking(layout, prompt, request)
    candidates = request.best_of or request.count
    made = decode(bundle.gpt, bundle.sequencer, layout, [prompt] * candidates, sampling, on_step=on_step)
    ranked = _ranked(bundle, layout, prompt, made, request)
    name = layout.target.name
    modality = registry.for_slot(name, layout.all_slots)
    media = bundle.decode(name, [made[number] for number, _ in ranked])
    if request.seconds is not None:
        media = [modality.trim(each, request.seconds) for each in media]
    parts = set(modality.slots) - {guide}  # a guide is another rendering of the medium, no part of it
    known = {slot: media for slot, media in conditions.items() if slot in parts and media is not None}
    return [
        Item(
            number=number, media=modality.join({**known, name: each}), ids=made[number], modality=modality, score=score
        )
        for (number, score), each in zip(ranked, media)
    ]


def _check_ranking(layout: Layout, prompt: Prompt, request: Request) -> None:
    """RequestError unless what is made can be ranked by how well it fits what is given."""
    length = layout.target.length
    if length is None or not any(map(len, prompt.conditions.values())):
        raise RequestError("--best-of ranks what is made by how well it fits what is given: a caption, for a picture")
    if layout.target.grid and request.tokens is not None and len(prompt.prime) + request.tokens < length:
        raise RequestError(f"--best-of ranks what is whole: {layout.target} has {length} tokens; leave out --tokens")


def _ranked(
    bundle: Bundle, layout: Layout, prompt: Prompt, made: list[np.ndarray], request: Request
) -> list[tuple[int, float | None]]:  # fmt: skip
    """(number, score) of the candidates that are kept: all, or the best ones first."""
    if request.best_of is None:
        return [(number, None) for number in range(len(made))]
    given = {slot: ids for slot, ids in prompt.conditions.items() if len(ids)}
    scores = judged(request.by, Candidates(bundle, layout, given, made))
    best = sorted(range(len(made)), key=lambda number: -scores[number])
    return [(number, scores[number]) for number in best[: request.count]]
