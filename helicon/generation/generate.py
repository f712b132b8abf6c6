"""Generation from request to items: prompt, decoding, ranking, media."""

from __future__ import annotations

import numpy as np

from helicon.bundle.bundle import Bundle
from helicon.generation.decode_request import Prompt, Sampling
from helicon.generation.engine import OnStep, decode
from helicon.generation.item import Item
from helicon.generation.prompts import choose_layout, make_prompt
from helicon.generation.ranking import JUDGES, Candidates, fit, judge_scores
from helicon.generation.request import Request, RequestError
from helicon.gpt.sampler import logits_processors
from helicon.modalities import registry
from helicon.sequence.layout import Layout


def generate(bundle: Bundle, request: Request, on_step: OnStep | None = None) -> list[Item]:
    """Generate items; each depends on (weights, request, seed, item number) alone.

    Args:
        bundle: `Bundle`, model.
        request: conditions, length and sampling options; `request.count` items are made.
        on_step: called after each decoding step with the `TokenStream`s of all items.

    Returns:
        A list of `Item`s, in order of their numbers; with `best_of` the best first.

    Raises:
        RequestError: the model has no layout for the request, or cannot make it.
        ValueError: a setting out of range.
    """
    layout = choose_layout(bundle, request)
    prompt, conditions = make_prompt(bundle, layout, request)
    chain = logits_processors(request)
    max_tokens, length = request.tokens, layout.target.length
    if max_tokens is not None and length is not None and len(prompt.prime) + max_tokens > length:
        primed = f", {len(prompt.prime)} of them given" if len(prompt.prime) else ""
        raise RequestError(
            f"--tokens {max_tokens}: {layout.target} has {length} tokens{primed}, and cannot go on after them"
        )
    guide = layout.target.guide
    guided = guide is not None and len(prompt.conditions[guide]) > 0  # its length follows from the upsampling condition
    if max_tokens is None and request.seconds is None and not guided:
        window_tokens = bundle.sequencer.target_capacity(layout) + 1
        # Half a window at least, so that a prime that fills the context is continued too
        max_tokens = max(window_tokens - len(prompt.prime), window_tokens // 2)
        max_tokens = max_tokens if length is None else min(max_tokens, length - len(prompt.prime)) or None
    if request.guidance != 1 and len(layout.all_slots) == 1:
        raise RequestError(f"--guidance {request.guidance:g}: this model takes no conditions")
    sampling = Sampling(
        chain=chain, seed=request.seed, max_tokens=max_tokens, overlap=request.overlap, guidance=request.guidance
    )
    if request.best_of is not None and JUDGES.get(request.by) is fit:
        _check_ranking(layout, prompt, request)
    candidates = request.best_of or request.count
    ids = decode(bundle.gpt, bundle.sequencer, layout, [prompt] * candidates, sampling, on_step=on_step)
    ranked = _ranked(bundle, layout, prompt, ids, request)
    name = layout.target.name
    modality = registry.for_slot(name, layout.all_slots)
    media = bundle.decode(name, [ids[number] for number, _ in ranked])
    if request.seconds is not None:
        media = [modality.trim(medium, request.seconds) for medium in media]
    parts = set(modality.slots) - {guide}  # the coarser codes are not part of the medium
    condition_media = {slot: media for slot, media in conditions.items() if slot in parts and media is not None}
    return [
        Item(
            number=number,
            media=modality.join({**condition_media, name: medium}),
            ids=ids[number],
            modality=modality,
            score=score,
        )
        for (number, score), medium in zip(ranked, media)
    ]


def _check_ranking(layout: Layout, prompt: Prompt, request: Request) -> None:
    """Raise RequestError unless the candidates can be ranked by their fit to conditions."""
    length = layout.target.length
    if length is None or not any(map(len, prompt.conditions.values())):
        raise RequestError("--best-of ranks what is made by how well it fits what is given: a caption, for a picture")
    if layout.target.grid and request.tokens is not None and len(prompt.prime) + request.tokens < length:
        raise RequestError(f"--best-of ranks what is whole: {layout.target} has {length} tokens; leave out --tokens")


def _ranked(
    bundle: Bundle, layout: Layout, prompt: Prompt, ids: list[np.ndarray], request: Request
) -> list[tuple[int, float | None]]:  # fmt: skip
    """Return (number, score) of the candidates that are kept: all of them, or the best first."""
    if request.best_of is None:
        return [(number, None) for number in range(len(ids))]
    conditions = {slot: local for slot, local in prompt.conditions.items() if len(local)}
    scores = judge_scores(request.by, Candidates(bundle, layout, conditions, ids))
    best = sorted(range(len(ids)), key=lambda number: -scores[number])
    return [(number, scores[number]) for number in best[: request.count]]
