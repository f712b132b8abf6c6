"""Rows of different lengths: what is computed for their real tokens alone is what filled-up rows have there."""

from __future__ import annotations

import pytest
import torch

from helicon.gpt.model import GPT, GPTConfig
from helicon.gpt.padding import Padding
from helicon.sequence.layout import PatternContext

pytestmark = pytest.mark.usefixtures("one_thread")
LENGTHS = torch.tensor([14, 1, 9, 3])
REAL = torch.arange(14) < LENGTHS[:, None]
FRAME = PatternContext(3, 4)  # three tokens, then a grid of rows of 4
SPECS = ["dense", "local:4", "block:4", "previous:4", "column:4", "summary:4,2", "strided:4", "fixed:4,2"]
SPECS += ["row", "row:3", "column", "conv:3"]


def outcome(gpt: GPT, lengths: torch.Tensor | None) -> list[torch.Tensor]:
    """Hidden states of the real tokens and, of a loss of them, the gradients of all parameters."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(11, (4, 14), generator=generator)
    rows = torch.randint(20, (4, 14, 2), generator=generator)
    target = torch.randn(4, 14, 16, generator=generator, dtype=torch.float64)
    hidden = gpt(ids, rows, FRAME, lengths_B=lengths)
    loss = (hidden - target)[REAL].square().sum()
    return [hidden[REAL], *torch.autograd.grad(loss, list(gpt.parameters()))]


def make(spec: str = "dense", **settings) -> GPT:
    torch.manual_seed(0)
    gpt = GPT(GPTConfig(layers=2, width=16, heads=2, pattern=spec, **settings), 11, 20, rope=bool(settings)).double()
    for parameter in gpt.parameters():
        parameter.data.mul_(4 if parameter.dim() > 1 else 1)
    return gpt


@pytest.mark.parametrize("spec", SPECS)
def test_packed_is_filled_up(spec):
    gpt = make(spec)
    for packed, filled in zip(outcome(gpt, LENGTHS), outcome(gpt, None), strict=True):
        torch.testing.assert_close(packed, filled, rtol=1e-9, atol=1e-9)


def test_with_positions_that_rotate_and_normalised_keys():
    gpt = make("dense,strided:4", qk_norm=True, norm="rms")
    for packed, filled in zip(outcome(gpt, LENGTHS), outcome(gpt, None), strict=True):
        torch.testing.assert_close(packed, filled, rtol=1e-9, atol=1e-9)


def test_recomputed_in_backward():
    gpt = make("strided:4")
    kept = outcome(gpt, LENGTHS)
    gpt.checkpoint = True
    for again, before in zip(outcome(gpt, LENGTHS), kept, strict=True):
        torch.testing.assert_close(again, before)


def test_only_real_tokens_are_computed():
    gpt, seen = make(), []
    gpt.layers[0].mlp.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape)))
    ids, rows = torch.ones(4, 14, dtype=torch.int64), torch.ones(4, 14, 0, dtype=torch.int64)
    hidden = gpt(ids, rows, FRAME, lengths_B=LENGTHS)
    assert hidden[REAL].any(1).all()
    assert not hidden[~REAL].any()
    gpt(ids, rows, FRAME, lengths_B=torch.full((4,), 14))
    assert seen == [(27, 16), (4, 14, 16)]  # full rows take the plain path


def test_unpad_and_pad_are_inverse():
    padding = Padding.of(torch.tensor([2, 0, 3]), 3)
    assert padding is not None
    assert padding.index_N.tolist() == [0, 1, 6, 7, 8]
    x = torch.arange(1, 6)[:, None]
    assert padding.pad(x).squeeze(2).tolist() == [[1, 2, 0], [0, 0, 0], [3, 4, 5]]
    assert padding.unpad(padding.pad(x)).tolist() == x.tolist()
