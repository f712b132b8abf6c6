"""What is asked of a decoding: what each item starts from, and how its tokens are drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from helicon.gpt.sampler import Method


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


@dataclass(frozen=True)
class Sampling:
    """How to draw: the chain of methods, the seed, the most tokens to make, the share of a full window that is kept.

    guidance: how much further than from the model without its conditions to the model with them (arXiv:2207.12598,
    eq. 6, where w is one less); 1 is the model with them.
    """

    chain: tuple[Method, ...] = ()
    seed: int = 0
    max_tokens: int | None = None
    overlap: float = 0.5
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.overlap < 1:
            raise ValueError(f"overlap must be above 0 and below 1, got {self.overlap}")
        if not 0 <= self.guidance < math.inf:
            raise ValueError(f"guidance must be 0 or more, got {self.guidance}")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"tokens must be 1 or more, got {self.max_tokens}")
