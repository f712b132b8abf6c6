"""What the engine is asked for, as ids: what an item starts from, and how its tokens are drawn."""

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
    """What one item starts from: ids of the fixed slots, ids of the last slot's beginning, constraints of its grammar.

    conditions: ids by slot; of a guided slot also its guide, from the beginning of the piece to its end. length: tokens
    that the last slot is to have in all, its prime included; a guided one has as many as its guide stands for unless
    it is to be shorter.
    """

    conditions: Mapping[str, np.ndarray]
    prime: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    constraints: Mapping[str, Any] = field(default_factory=dict)
    length: int | None = None


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How to draw: the chain of methods, the seed, the most tokens to make, the share of a full window that is kept.

    guidance: how much further than from the model without its conditions to the model with them (arXiv:2207.12598,
    eq. 6, where w is one less); 1 is the model with them.
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
    """One item of a layout: its ids depend on the weights, on this, and on nothing else."""

    layout: Layout
    prompt: Prompt
    sampling: Sampling
    item: int = 0

    @property
    def rows(self) -> int:
        """Rows that the model computes for it: with guidance one with its conditions and one without them."""
        return 1 if self.sampling.guidance == 1 else 2

    def checked(self, sequencer: Sequencer) -> DecodeRequest:
        """The request, its ids as arrays, with the length that its guide stands for where it has one.

        Raises:
            ValueError: ids that a slot does not have, or more tokens than it takes; conditions of slots that the
                layout does not have.
        """
        prompt, last = self.prompt, self.layout.target
        for name in prompt.conditions:
            if name not in self.layout.all_slots:
                raise ValueError(unknown("condition", name, self.layout.all_slots))
        conditions = {name: sequencer.checked(name, ids) for name, ids in prompt.conditions.items()}
        prime, most = sequencer.checked(last.name, prompt.prime), self.sampling.max_tokens
        if last.length is not None and len(prime) + (most or 0) > last.length:
            more = f" and {most} to make" if most else ""
            raise ValueError(f"slot {last} takes {last.length} tokens, got {len(prime)}{more}")
        if prompt.length is not None and prompt.length < len(prime):
            raise ValueError(f"a length of {prompt.length} tokens, and a prime of {len(prime)}")
        guide = sequencer.guides[last.name].length(prompt.conditions) if last.guide else None
        lengths = [prompt.length] if guide is None else [guide, last.length, prompt.length]
        length = min((tokens for tokens in lengths if tokens is not None), default=None)
        return replace(self, prompt=replace(prompt, conditions=conditions, prime=prime, length=length))

    @property
    def most_tokens(self) -> int | None:
        """Tokens to draw after which it is done, as far as that is known before they are drawn."""
        lengths = (self.layout.target.length, self.prompt.length)
        limits = [length - len(self.prompt.prime) for length in lengths if length is not None]
        if self.sampling.max_tokens is not None:
            limits.append(self.sampling.max_tokens)
        return min(limits, default=None)
