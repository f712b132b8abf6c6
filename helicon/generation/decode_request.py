"""Requests to the engine, in ids: prompt, sampling settings, item number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from helicon.formats.nearest import unknown
from helicon.gpt.sampler import LogitsProcessor
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import Sequencer


@dataclass(frozen=True)
class Prompt:
    """Prompt of one item: condition ids, prime, and constraints of the grammar.

    Attributes:
        conditions: slot -> local ids, int64 [T]; with an upsampling condition also its coarse codes, for all of the
            piece.
        prime: local ids int64 [T] that the target slot begins with.
        constraints: keyword arguments of `Automaton.constrain`, such as `seconds`.
        length: tokens of the target slot in all, its prime included; None leaves that to the model. With an upsampling
            condition at most as many as its coarse codes stand for.
    """

    conditions: Mapping[str, np.ndarray]
    prime: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    constraints: Mapping[str, Any] = field(default_factory=dict)
    length: int | None = None


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Sampling settings of a request.

    Attributes:
        chain: logits processors, applied in order after the grammar.
        seed: with the item's number it seeds the uniform numbers.
        max_tokens: new tokens at most; None for no limit.
        overlap: share of a full window that is kept as context of the next, above 0 and below 1.
        guidance: scale of classifier-free guidance (arXiv:2207.12598, eq. 6, where w = scale - 1); 1 is without.
    """

    chain: tuple[LogitsProcessor, ...] = ()
    seed: int = 0
    max_tokens: int | None = None
    overlap: float = 0.5
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.overlap < 1:
            raise ValueError(f"overlap must be above 0 and below 1, got {self.overlap}")
        if not 0 <= self.guidance < math.inf:
            raise ValueError(f"guidance must be 0 or more, got {self.guidance}")
        if self.max_tokens is not None and (not isinstance(self.max_tokens, int) or self.max_tokens < 1):
            raise ValueError(f"tokens must be 1 or more, a whole number, got {self.max_tokens!r}")


@dataclass(frozen=True)
class DecodeRequest:
    """Request for one item of a layout. Its ids are a function of the weights and of these fields alone.

    Attributes:
        layout: layout to fill.
        prompt: conditions and prime.
        sampling: settings.
        item: number of the item, which seeds its uniform numbers.
    """

    layout: Layout
    prompt: Prompt
    sampling: Sampling
    item: int = 0

    @property
    def cache_rows(self) -> int:
        """Number of rows of the KV cache: one, with guidance a conditional and an unconditional one."""
        return 1 if self.sampling.guidance == 1 else 2

    def checked(self, sequencer: Sequencer) -> DecodeRequest:
        """Return a `DecodeRequest` with checked int64 ids, and the length that its upsampling condition implies.

        Raises:
            ValueError: ids outside a slot's block, too many tokens, or conditions of slots that the layout lacks.
        """
        prompt, target = self.prompt, self.layout.target
        for name in prompt.conditions:
            if name not in self.layout.all_slots:
                raise ValueError(unknown("condition", name, self.layout.all_slots))
        conditions = {name: sequencer.checked(name, ids) for name, ids in prompt.conditions.items()}
        prime, max_tokens = sequencer.checked(target.name, prompt.prime), self.sampling.max_tokens
        if target.length is not None and len(prime) + (max_tokens or 0) > target.length:
            more = f" and {max_tokens} to make" if max_tokens else ""
            raise ValueError(f"slot {target} takes {target.length} tokens, got {len(prime)}{more}")
        if prompt.length is not None and prompt.length < len(prime):
            raise ValueError(f"a length of {prompt.length} tokens, and a prime of {len(prime)}")
        guide_length = sequencer.guides[target.name].length(prompt.conditions) if target.guide else None
        lengths = [prompt.length] if guide_length is None else [guide_length, target.length, prompt.length]
        length = min((tokens for tokens in lengths if tokens is not None), default=None)
        return replace(self, prompt=replace(prompt, conditions=conditions, prime=prime, length=length))

    @property
    def token_limit(self) -> int | None:
        """Number of new tokens after which the request is done; None when only `eos` ends it."""
        lengths = (self.layout.target.length, self.prompt.length)
        limits = [length - len(self.prompt.prime) for length in lengths if length is not None]
        if self.sampling.max_tokens is not None:
            limits.append(self.sampling.max_tokens)
        return min(limits, default=None)
