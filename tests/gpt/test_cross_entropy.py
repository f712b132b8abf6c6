"""The loss in parts against F.cross_entropy of whole logits: values, gradients, types, several slots."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from helicon.gpt import cross_entropy
from helicon.gpt.cross_entropy import Scored, summed_cross_entropy

SLICES = [slice(2, 30), slice(40, 50)]  # of 60 rows: some are of no slot


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Parts of 5 positions, so that several are added up and the last is ragged."""
    monkeypatch.setattr(cross_entropy, "GRAIN", 5)
    monkeypatch.setattr(cross_entropy, "LOGITS", {"cpu": 1, "cuda": 1})


def draw(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, list[Scored]]:
    """A matrix [60, 8] and the positions of two slots."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(60, 8, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    scored = []
    for rows, count in zip(SLICES, (17, 4)):
        hidden = torch.randn(count, 8, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
        targets = torch.randint(rows.stop - rows.start, (count,), generator=generator)
        scored.append(Scored(hidden, rows, targets))
    return weight, scored


def whole(weight: torch.Tensor, scored: list[Scored]) -> torch.Tensor:
    """The oracle."""
    sums = [F.cross_entropy(F.linear(x, weight[rows]).float(), targets, reduction="sum") for x, rows, targets in scored]
    return torch.stack(sums)


def double(weight: torch.Tensor, scored: list[Scored]) -> torch.Tensor:
    """The oracle in float64."""
    return torch.stack([F.cross_entropy(x @ weight[rows].T, targets, reduction="sum") for x, rows, targets in scored])


def outcome(way, weight, scored, scales=(1.0, 1.0)) -> list[torch.Tensor]:
    """Sums, and the gradients of their weighted sum."""
    inputs = [weight, *(each.hidden_NC for each in scored)]
    sums = way(weight, scored)
    return [sums, *torch.autograd.grad((sums * sums.new_tensor(scales)).sum(), inputs)]


def test_exact_in_float64_each_slot_with_its_own_weight():
    found, true = (outcome(way, *draw(), scales=(0.25, 7.0)) for way in (summed_cross_entropy, double))
    torch.testing.assert_close(found, true, rtol=1e-12, atol=1e-12)


def test_under_autocast_as_whole_logits():
    weight, scored = draw(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found, true = (outcome(way, weight, scored) for way in (summed_cross_entropy, whole))
    assert [x.dtype for x in found] == [torch.float32] * 4
    torch.testing.assert_close(found, true, rtol=2e-2, atol=2e-2)


def test_bfloat16_weights_have_bfloat16_gradients_and_a_float32_loss():
    found = outcome(summed_cross_entropy, *draw(torch.bfloat16))
    assert [x.dtype for x in found] == [torch.float32, *[torch.bfloat16] * 3]


def test_a_tied_matrix_collects_what_embedding_and_slots_give():
    ids = torch.tensor([3, 45, 3, 59])
    grads = []
    for way in (summed_cross_entropy, double):
        table, (first, _) = draw()
        loss = way(table, [Scored(table[ids], first.vocab_slice, first.targets_N[:4])]).sum()
        grads.append(torch.autograd.grad(loss, table))
    torch.testing.assert_close(*grads)


def test_a_slot_without_targets_costs_nothing():
    weight, (first, second) = draw()
    empty = Scored(second.hidden_NC[:0], second.vocab_slice, second.targets_N[:0])
    sums, grad_weight, *_ = outcome(summed_cross_entropy, weight, [first, empty])
    assert sums[1] == 0
    assert not grad_weight[second.vocab_slice].any()


def test_no_gradients_are_made_where_none_are_wanted():
    weight, scored = draw()
    with torch.no_grad():
        sums = summed_cross_entropy(weight, scored)
    assert not sums.requires_grad
    torch.testing.assert_close(sums, double(weight, scored).detach())


def test_targets_of_almost_no_probability_have_a_finite_loss():
    hidden = torch.tensor([[300.0]], requires_grad=True)
    sums = summed_cross_entropy(torch.tensor([[1.0], [0.0]]), [Scored(hidden, slice(0, 2), torch.tensor([1]))])
    assert sums.tolist() == [300.0]


def test_slots_that_share_rows_are_refused():
    weight, (first, second) = draw()
    with pytest.raises(ValueError, match="overlap"):
        summed_cross_entropy(weight, [first, second._replace(vocab_slice=slice(29, 39))])


def test_its_gradients_are_given_once():
    sums = summed_cross_entropy(*draw()).sum()
    sums.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="given away already"):
        sums.backward()
