"""What a decoding does at each step."""

from __future__ import annotations

import pytest
import torch

from helicon.decoding import _Run


def watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Hidden states, lengths and window starts of every step of the decodings that follow."""
    steps = []
    for name in ("prefill", "advance"):
        inner = getattr(_Run, name)

        def outer(self, *args, inner=inner):
            hidden = inner(self, *args)
            steps.append((hidden, self.length.clone(), self.window.clone()))
            return hidden

        monkeypatch.setattr(_Run, name, outer)
    return steps
