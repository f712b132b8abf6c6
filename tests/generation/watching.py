"""What a decoding does at each step."""

from __future__ import annotations

import pytest
import torch

from helicon.generation.state import DecodeState


def watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Logits, lengths and window starts of every step of the decodings that follow."""
    steps = []
    for name in ("prefill", "advance"):
        inner = getattr(DecodeState, name)

        def outer(self, *args, inner=inner, name=name):
            logits = inner(self, *args)
            steps.append((logits.clone(), self.length.clone(), self.window.clone()))
            return logits

        monkeypatch.setattr(DecodeState, name, outer)
    return steps
