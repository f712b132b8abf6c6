"""Dense attention by matrix products against PyTorch's: values, gradients, and when it is chosen."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from helicon.gpt.attention import blocked
from helicon.gpt.attention.attend import attend
from helicon.gpt.attention.patterns import parse_pattern

DENSE = parse_pattern("dense")


def draw(length: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    """q, k, v and a gradient [2, 3, T, 16], heads transposed as the model leaves them."""
    generator = torch.Generator().manual_seed(length)
    return [torch.randn(2, length, 3, 16, generator=generator).to(dtype).transpose(1, 2) for _ in range(4)]


def outcome(attention, q, k, v, grad) -> list[torch.Tensor]:
    """The output and the gradients of q, k and v."""
    inputs = [x.detach().requires_grad_() for x in (q, k, v)]
    out = attention(*inputs)
    return [out, *torch.autograd.grad(out, inputs, grad)]


def torchs(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


@pytest.mark.parametrize("length", [1, 39, 40, 41, 100, 240])  # blocks of 40 in float64: less than one, whole, ragged
def test_blocks_are_exact(length):
    for found, true in zip(outcome(blocked.attend_blocks, *draw(length)), outcome(torchs, *draw(length)), strict=True):
        torch.testing.assert_close(found, true, atol=1e-12, rtol=0)


def test_blocks_in_bfloat16_are_as_near_as_its_numbers():
    tensors = draw(300, torch.bfloat16)
    true = outcome(torchs, *(x.double() for x in tensors))
    for found, exact in zip(outcome(blocked.attend_blocks, *tensors), true, strict=True):
        assert found.dtype == torch.bfloat16
        assert float((found - exact).detach().norm() / exact.detach().norm()) < 2**-7


def test_scores_that_overflow_an_exponential():
    q, k, v, grad = draw(40)
    found, true = (outcome(way, 300 * q, k, v, grad) for way in (blocked.attend_blocks, torchs))
    torch.testing.assert_close(found, true, atol=1e-10, rtol=1e-10)


def test_chosen_for_training_only_and_where_weights_can_be_kept():
    q = torch.zeros(1, 8, 1280, 64, dtype=torch.bfloat16)
    assert not blocked.supports(q)
    assert blocked.supports(q.requires_grad_())
    assert not blocked.supports(torch.zeros(1, 8, 2049, 64, dtype=torch.bfloat16, requires_grad=True))
    with torch.no_grad():
        assert not blocked.supports(q)


def test_attend_supports_blocks_and_the_fused_kernel_alike(monkeypatch):
    tensors = draw(100)
    by_blocks = outcome(lambda q, k, v: attend(q, k, v, DENSE), *tensors)
    monkeypatch.setattr(blocked, "MAX_WEIGHT_BYTES", 0)
    fused = outcome(lambda q, k, v: attend(q, k, v, DENSE), *tensors)
    assert not torch.equal(by_blocks[0], fused[0])  # two computations
    for one, other in zip(by_blocks, fused, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=0)


def test_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        q, k, v, grad = (x.float() for x in draw(50))
        out, *grads = outcome(lambda q, k, v: attend(q, k, v, DENSE), q, k, v, grad.bfloat16())
    assert out.dtype == torch.bfloat16
    assert {grad.dtype for grad in grads} == {torch.float32}
