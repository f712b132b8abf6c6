"""Muon: what orthogonalising does, and that the two optimizers in one save, load and schedule as one."""

from __future__ import annotations

import copy

import pytest
import torch

from helicon.training.learning import optimizers
from helicon.training.learning.optimizers import MuonAdamW, orthogonalise


def test_orthogonalise_brings_singular_values_near_one() -> None:
    generator = torch.Generator().manual_seed(0)
    for rows, columns in ((16, 64), (64, 16), (32, 32)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(rows, columns, generator=generator)))
        assert values.min() > 0.4, (rows, columns)
        assert values.max() < 1.4, (rows, columns)


def test_orthogonalise_keeps_the_directions() -> None:
    u, _ = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(1)))
    stretched = u @ torch.diag(torch.linspace(1, 3, 8)) @ u.T  # symmetric positive: its nearest orthogonal matrix is I
    assert torch.allclose(orthogonalise(stretched).diagonal(), torch.ones(8), atol=0.35)


def _model() -> tuple[torch.nn.Module, MuonAdamW]:
    torch.manual_seed(2)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    weights = [p for p in model.parameters() if p.dim() == 2]
    biases = [p for p in model.parameters() if p.dim() == 1]
    return model, MuonAdamW(weights, biases, lr=0.02, weight_decay=0.0, beta2=0.98)


def _steps(model: torch.nn.Module, optimizer: MuonAdamW, count: int) -> list[float]:
    x = torch.linspace(-1, 1, 64).view(8, 8)
    losses = []
    for _ in range(count):
        loss = (model(x) - x.sum(1, keepdim=True).sin()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def test_it_learns() -> None:
    losses = _steps(*_model(), 400)
    assert losses[-1] < 0.2 * losses[0]


def test_a_saved_state_goes_on_as_if_never_saved() -> None:
    model, optimizer = _model()
    _steps(model, optimizer, 5)
    weights, state = copy.deepcopy(model.state_dict()), copy.deepcopy(optimizer.state_dict())
    expected = _steps(model, optimizer, 5)
    again, loaded = _model()
    again.load_state_dict(weights)
    loaded.load_state_dict(state)
    assert _steps(again, loaded, 5) == expected


def test_a_scheduler_moves_the_rate_of_both() -> None:
    _, optimizer = _model()
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5)
    assert [group["lr"] for group in optimizer.muon.param_groups + optimizer.adamw.param_groups] == [0.01, 0.01]
    assert scheduler.get_last_lr() == [0.01, 0.01]


@pytest.mark.parametrize("hardware", [True, False])
def test_bfloat16_is_multiplied_only_where_hardware_does(monkeypatch, hardware) -> None:
    monkeypatch.setattr(optimizers, "has_bf16", lambda device: hardware)
    found = orthogonalise(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))
    assert found.dtype == torch.float32
    assert torch.equal(found, found.bfloat16().float()) == hardware
