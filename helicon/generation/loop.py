"""Prompts in, ids out: all items together, one token each a step.

Shapes: B items, V tokens of the slot, `stop` included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from helicon.generation.decode_request import Prompt, Sampling
from helicon.generation.state import DecodeState
from helicon.gpt.model import GPT
from helicon.gpt.sampler import Noise, draw
from helicon.gpt.stepping import Engine
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import Sequencer

OnStep = Callable[[Tensor, Tensor], None]  # ids [B] drawn this step, bool [B] whether each is a token of its item
LOOKS = 16  # steps of a GPU between two looks at whether all items have ended, for each of which it is waited for


@torch.inference_mode()
def decode(
    gpt: GPT, sequencer: Sequencer, layout: Layout, prompts: Sequence[Prompt], sampling: Sampling,
    items: Sequence[int] | None = None, on_step: OnStep | None = None, engine: Engine = "auto",
) -> list[np.ndarray]:  # fmt: skip
    """Local ids of each item's last slot, its prime included, without `stop`.

    Noise depends on (seed, item) alone; `items` are the items' numbers, 0, 1, ... unless told. ValueError for ids that
    the slots do not have, or more of them than a slot takes.
    """
    if not prompts:
        return []
    prompts = [_as_long_as_guided(sequencer, layout, prompt) for prompt in prompts]
    # With guidance each prompt is there twice, the second time without its conditions; both are fed the same tokens
    count, copies = len(prompts), 1 if sampling.guidance == 1 else 2
    bare = (
        [replace(prompt, conditions=sequencer.unsaid(prompt.conditions)) for prompt in prompts] if copies == 2 else []
    )
    run = DecodeState(gpt.eval(), sequencer, layout, [*prompts, *bare], sampling, engine)
    noise = Noise(sampling.seed, range(count) if items is None else items, run.device)
    done, step = run.full()[:count], 0
    most, every = run.most_steps(), LOOKS if done.is_cuda else 1
    logits = torch.empty(0) if most == 0 else run.prefill()
    while step != most and (step % every or not bool(done.all())):
        allowed = run.allowed(count)
        if copies == 2:
            given, free = logits.float().chunk(2)
            logits = free + sampling.guidance * (given - free)  # lerp rounds by where in memory a number lies
        ids = draw(logits, allowed, run.seen[:count], noise[step], sampling.chain).to(done.device)
        done = done | (ids == run.stop)
        if on_step:
            on_step(ids, ~done)
        fed, going = (ids, ~done) if copies == 1 else (ids.repeat(2), ~done.repeat(2))
        run.append(fed, going)
        done, step = done | run.full()[:count], step + 1
        if step != most and (step % every or not bool(done.all())):
            logits = run.advance(fed, ~done if copies == 1 else ~done.repeat(2))
    return run.histories()[:count]


def _as_long_as_guided(sequencer: Sequencer, layout: Layout, prompt: Prompt) -> Prompt:
    """The prompt, with the length that its guide is for where it has one."""
    guide = sequencer.guides[layout.last.name].length(prompt.conditions) if layout.last.guide else None
    lengths = [length for length in (guide, layout.last.length, prompt.length) if length is not None]
    return prompt if guide is None else replace(prompt, length=min(lengths))
