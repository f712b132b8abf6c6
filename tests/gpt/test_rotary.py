"""Rotary positions: pairs of features turn by angles, scores know distances only, gradients turn back."""

from __future__ import annotations

import math

import pytest
import torch

from helicon.gpt.rotary import Angles, rotate


def at(*position: int, width: int) -> Angles:
    """Of heads of a width at some positions."""
    return Angles.of(torch.tensor([position]), width)


def test_by_hand():
    x = torch.tensor([1.0, 0.0, 0.0, 1.0]).view(1, 1, 1, 4)  # pairs (1, 0) and (0, 1), which turn by 1 and 1/100
    made = rotate(x, at(1, width=4)).flatten().tolist()
    assert made == pytest.approx([math.cos(1), -math.sin(0.01), math.sin(1), math.cos(0.01)])


def test_scores_depend_on_the_distance_alone():
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 1, 1, 6, generator=generator, dtype=torch.float64)
    near, far = (float((rotate(q, at(i + 7, width=6)) * rotate(k, at(i, width=6))).sum()) for i in (2, 90))
    assert near == pytest.approx(far, abs=1e-5)  # angles are float32


@pytest.mark.parametrize("width", [1, 6, 7])  # the last feature of an odd width stays
def test_gradients(width):
    x = torch.randn(2, 1, 3, width, dtype=torch.float64, requires_grad=True)
    angles = at(0, 1, 2, width=width)
    assert torch.autograd.gradcheck(lambda x: rotate(x, angles), x)
    assert torch.equal(rotate(x, angles), rotate(x.detach(), angles))
