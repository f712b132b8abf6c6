"""Tiles by matrix products as a kernel: merged as fused kernels' are, and chosen where they are the faster."""

from __future__ import annotations

import pytest
import torch
from attention_cases import ROW, compare, every_pattern, every_prefix, inputs, with_gradients

from helicon.gpt.attention import kernels, lse_merge, matmul
from helicon.gpt.attention.attend import attend, attend_dense
from helicon.gpt.attention.patterns import parse_pattern
from helicon.gpt.attention.tiles import AttentionTile, StridedView
from helicon.sequence.layout import PatternContext

pytestmark = pytest.mark.usefixtures("one_thread")


@every_pattern
@every_prefix
@pytest.mark.parametrize("slot", [1, 8, 45])
def test_exact_in_float64(monkeypatch, pattern, prefix, slot):
    monkeypatch.setattr(lse_merge, "kernel_for", lambda q, tile: kernels.CPU_PRODUCTS)
    tensors = inputs(prefix + slot, torch.float64)
    compare(attend, pattern, PatternContext(prefix, ROW), tensors, forward=1e-12, backward=1e-11)


def test_in_bfloat16_as_near_the_oracle_as_its_numbers():
    pattern, frame = parse_pattern("strided:8"), PatternContext(5, ROW)
    tensors = inputs(150, torch.bfloat16)
    exact = [x.detach().double() for x in tensors]
    exact[:3] = [x.requires_grad_() for x in exact[:3]]
    found = with_gradients(lambda q, k, v: attend(q, k, v, pattern, frame), *tensors)
    true = with_gradients(lambda q, k, v: attend_dense(q, k, v, pattern, frame), *exact)
    for one, other in zip(found, true, strict=True):
        assert one.dtype == torch.bfloat16
        assert float((one - other).detach().norm() / other.detach().norm()) < 2**-6


def test_chosen_in_bfloat16_and_while_its_weights_are_small():
    view, long = (
        StridedView(size=8, cells=range(2), offsets=range(8)),
        StridedView(size=4096, cells=range(2), offsets=range(4096)),
    )
    q = torch.zeros(1, 1, 8, 16, dtype=torch.bfloat16)
    assert matmul.supports(q, AttentionTile(view, view))
    assert not matmul.supports(q, AttentionTile(long, long))
    assert not matmul.supports(q.float(), AttentionTile(view, view))
