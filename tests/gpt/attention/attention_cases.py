"""Patterns, inputs and the comparison with the oracle, which tests of attention share."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch

from helicon.gpt.attention.attend import attend_dense
from helicon.gpt.attention.pattern_base import AttentionPattern, PatternSpec
from helicon.gpt.attention.patterns import parse_pattern
from helicon.sequence.layout import PatternContext

SPECS = ["dense", "local:8", "block:8", "previous:8", "column:8", "summary:8,3", "strided:8", "fixed:8,2", "strided:1"]
SPECS += ["row", "row:3", "block", "column", "conv:3", "conv:5,8", "conv:15"]


@dataclass(frozen=True)
class Dilated(AttentionPattern):
    """A pattern of one predicate, from which everything else follows."""

    stride: int
    number: int
    form = "dilated:L,N"

    def mask_mod(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        back = query - key
        return (back % self.stride == 0) & (back < self.stride * self.number)


@dataclass(frozen=True)
class Gaps(AttentionPattern):
    """One whose odd queries see nothing, and whose predicate says yes to later keys."""

    form = "gaps"

    def mask_mod(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return (query % 2 == 0) & (key % 3 == 0)


ROW = 6  # tokens of a row of the grid
PREFIXES = [0, 1, 5]

every_pattern = pytest.mark.parametrize("pattern", [*map(parse_pattern, SPECS), Dilated(3, 4), Gaps()], ids=str)
every_prefix = pytest.mark.parametrize("prefix", PREFIXES)


def inputs(length: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> tuple[torch.Tensor, ...]:
    """q, k, v and an output gradient, [2, 3, T, 16] with heads transposed as the model leaves them."""
    generator = torch.Generator().manual_seed(length)
    drawn = torch.randn(4, 2, length, 3, 16, generator=generator, dtype=torch.float64).to(device, dtype)
    q, k, v, grad = drawn.transpose(2, 3)
    return q.requires_grad_(), k.requires_grad_(), v.requires_grad_(), grad


def with_gradients(attention, q, k, v, grad):
    out = attention(q, k, v)
    return out, *torch.autograd.grad(out, (q, k, v), grad)


def compare(fast, pattern: PatternSpec, frame: PatternContext, tensors, forward: float, backward: float) -> None:
    """Output and gradients against the oracle's, within these distances."""
    out, *grads = with_gradients(lambda q, k, v: fast(q, k, v, pattern, frame), *tensors)
    true_out, *true_grads = with_gradients(lambda q, k, v: attend_dense(q, k, v, pattern, frame), *tensors)
    torch.testing.assert_close(out, true_out, atol=forward, rtol=0)
    for got, true in zip(grads, true_grads, strict=True):
        torch.testing.assert_close(got, true, atol=backward, rtol=0)
