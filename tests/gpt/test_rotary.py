"""Rotary positions: pairs of features turn by angles, scores know distances only, gradients turn back."""

from __future__ import annotations

import math

import pytest
import torch

from helicon.gpt.rotary import rotate


def test_by_hand():
    x = torch.tensor([1.0, 0.0, 0.0, 1.0]).view(1, 1, 1, 4)  # pairs (1, 0) and (0, 1), which turn by 1 and 1/100
    made = rotate(x, torch.tensor([[1]])).flatten().tolist()
    assert made == pytest.approx([math.cos(1), -math.sin(0.01), math.sin(1), math.cos(0.01)])


def test_scores_depend_on_the_distance_alone():
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 6, generator=generator, dtype=torch.float64)
    near, far = (float((rotate(q, torch.tensor([[i + 7]])) * rotate(k, torch.tensor([[i]]))).sum()) for i in (2, 90))
    assert near == pytest.approx(far, abs=1e-5)  # angles are float32


@pytest.mark.parametrize("width", [1, 6, 7])  # the last feature of an odd width stays
def test_gradients(width):
    x = torch.randn(2, 1, 3, width, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: rotate(x, torch.arange(3)[None]), x)
    assert torch.equal(rotate(x, torch.arange(3)[None]), rotate(x.detach(), torch.arange(3)[None]))
