"""GELU's two computations against PyTorch's in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from helicon.gpt.activations import gelu

X = torch.linspace(-12, 12, 4801, dtype=torch.float64)


def outcome(way, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Values and slopes."""
    x = x.detach().requires_grad_()
    made = way(x)
    return made.detach(), torch.autograd.grad(made.sum(), x)[0]


def torchs(x):
    return F.gelu(x, approximate="tanh")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_in_wide_numbers_it_is_pytorchs(dtype):
    assert all(map(torch.equal, outcome(gelu, X.to(dtype)), outcome(torchs, X.to(dtype))))


def test_in_bfloat16_to_within_its_rounding():
    x = X.bfloat16()
    for found, exact in zip(outcome(gelu, x), outcome(torchs, x.double()), strict=True):
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.double(), exact, rtol=2**-6, atol=2**-8)


def test_without_gradients_and_with_them_alike():
    x = X.bfloat16()
    torch.testing.assert_close(gelu(x), outcome(gelu, x)[0], rtol=2**-7, atol=2**-8)
