"""What a decoding does at each step."""

from __future__ import annotations

from typing import NamedTuple

import pytest
import torch

from helicon.generation.lane import Lane
from helicon.gpt.sampler import PerItemRNG


class Seen(NamedTuple):
    """Logits that a row's token is drawn from, the tokens that there are by then, the first one of the window."""

    logits: torch.Tensor
    length: int
    window: int


def watched(monkeypatch: pytest.MonkeyPatch) -> list[dict[int, Seen]]:
    """What every step of the decodings that follow sees, by item."""
    steps: list[dict[int, Seen]] = []
    inner = Lane._sample

    def outer(self, batch, logits):
        rows = zip(self.streams, logits.clone(), batch.length_B.tolist(), batch.window_B.tolist())
        steps.append({stream.request.item: Seen(*seen) for stream, *seen in rows})
        return inner(self, batch, logits)

    monkeypatch.setattr(Lane, "_sample", outer)
    return steps


def uniforms(seed: int, item: int, count: int) -> list[float]:
    """The first uniform numbers of an item."""
    rng, found = PerItemRNG(seed, item), []
    while len(found) < count:
        found += rng.chunk().tolist()
    return found[:count]
