"""Dropout as PyTorch's: how much is dropped, what is left, gradients, and when nothing is."""

from __future__ import annotations

import pytest
import torch

from helicon.gpt.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_a_share_p_is_dropped_and_the_rest_scaled(p):
    torch.manual_seed(0)
    made = Dropout(p)(torch.ones(1001, 301))
    assert float((made == 0).double().mean()) == pytest.approx(p, abs=0.003)  # 3 standard deviations: .0027 at most
    assert made.unique().tolist() == pytest.approx([0, 1 / (1 - p)])


def test_each_number_is_dropped_by_itself():
    """Neighbours at any distance up to 8 are both dropped as often as chance has it."""
    torch.manual_seed(1)
    dropped = (Dropout(0.5)(torch.ones(400_000)) == 0).double()
    for distance in range(1, 9):
        assert float((dropped[distance:] * dropped[:-distance]).mean()) == pytest.approx(0.25, abs=0.003)


def test_gradients_go_where_values_went():
    torch.manual_seed(2)
    x = torch.randn(50, 3, requires_grad=True)
    made = Dropout(0.3)(x)
    made.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad * x.detach(), made.detach())


def test_the_seed_decides():
    made = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        made.append(Dropout(0.5)(torch.ones(64)))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_nothing_is_dropped_when_it_is_off():
    x = torch.randn(7, dtype=torch.bfloat16)
    assert Dropout(0.5).eval()(x) is x
    assert torch.equal(Dropout(0.0)(x), x)
    assert not Dropout(1.0)(x).any()
    assert Dropout(0.5)(x).dtype == torch.bfloat16
