"""Every execution of every pattern against the dense masked oracle."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from attention_cases import ROW, compare, every_pattern, every_prefix, inputs

from helicon.gpt.attention.attend import attend, attend_cached, attend_dense
from helicon.gpt.attention.patterns import parse_pattern
from helicon.gpt.cache import Positions
from helicon.sequence.layout import PatternContext

SLOTS = [0, 1, 5, 8, 13, 40, 61]  # shorter than a block or row, whole blocks, ragged

every_slot = pytest.mark.parametrize("slot", SLOTS)


def test_the_oracle_on_a_case_done_by_hand():
    # Equal scores, so each output is the mean of the values seen: token 0 is the prefix, `previous:2` the pattern.
    q = k = torch.zeros(1, 1, 6, 1)
    v = torch.tensor([1.0, 2, 4, 8, 16, 32]).view(1, 1, 6, 1)
    pattern = parse_pattern("previous:2")
    assert attend_dense(q, k, v, pattern, PatternContext(1)).flatten().tolist() == pytest.approx(
        [1, 1, 1, 7 / 3, 7 / 3, 25 / 3]
    )
    assert attend_dense(q, k, v, pattern).flatten().tolist() == pytest.approx([0, 0, 1.5, 1.5, 6, 6])


def test_the_oracle_of_dense_is_torchs():
    q, k, v, _ = inputs(17)
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(attend_dense(q, k, v, parse_pattern("dense")), expected)


@pytest.mark.parametrize("spec", ["row", "block", "column", "conv:3"])
@pytest.mark.parametrize("attention", [attend, attend_dense])
def test_without_a_grid_its_patterns_are_dense(spec, attention):
    q, k, v, _ = inputs(17)
    expected = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    torch.testing.assert_close(attention(q, k, v, parse_pattern(spec), PatternContext(3)), expected)
    rows = slice(None), slice(None), 12
    out = attend_cached(
        q[rows],
        k.contiguous(),
        v.contiguous(),
        Positions.of(torch.tensor([12, 12])),
        parse_pattern(spec),
        PatternContext(3),
    )
    torch.testing.assert_close(out, expected[rows])


@every_pattern
@every_prefix
@every_slot
def test_folded_is_the_oracle(pattern, prefix, slot):
    if prefix + slot:
        compare(attend, pattern, PatternContext(prefix, ROW), inputs(prefix + slot), forward=1e-5, backward=1e-4)


@every_pattern
@every_prefix
def test_folded_is_exact_in_float64(pattern, prefix):
    compare(
        attend, pattern, PatternContext(prefix, ROW), inputs(prefix + 45, torch.float64), forward=1e-13, backward=1e-12
    )


@every_pattern
def test_folded_follows_the_oracle_in_bfloat16(pattern):
    compare(attend, pattern, PatternContext(5, ROW), inputs(5 + 45, torch.bfloat16), forward=0.05, backward=0.15)


@pytest.mark.parametrize("spec", ["strided:3", "fixed:4,2", "previous:3", "conv:3"])
def test_folded_passes_gradcheck(spec):
    q, k, v = (torch.randn(1, 1, 11, 4, dtype=torch.float64, requires_grad=True) for _ in range(3))
    assert torch.autograd.gradcheck(lambda *qkv: attend(*qkv, parse_pattern(spec), PatternContext(1, 4)), (q, k, v))


def test_autocast_joins_mixed_types():
    q, k, v, _ = inputs(20)
    with torch.autocast("cpu", torch.bfloat16):
        out = attend(q, k, v.bfloat16(), parse_pattern("strided:8"))
    assert out.dtype == torch.bfloat16


@every_pattern
@every_prefix
@pytest.mark.parametrize("limit", [None, 64])
def test_a_cached_step_is_the_uncached_row(pattern, prefix, limit):
    q, k, v, _ = (x.detach() for x in inputs(64))
    uncached = attend(q, k, v, pattern, PatternContext(prefix, ROW))
    k_cache, v_cache = k.contiguous(), v.contiguous()
    for first in range(64):
        position_B = torch.tensor([first, (first * 7 + 3) % 64])  # ragged, the prefix included
        rows = torch.arange(2), slice(None), position_B
        out = attend_cached(
            q[rows], k_cache, v_cache, Positions.of(position_B, limit), pattern, PatternContext(prefix, ROW)
        )
        torch.testing.assert_close(out, uncached[rows], atol=1e-4, rtol=0)
