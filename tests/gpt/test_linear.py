"""x W^T + bias is that, whichever product of matrices makes it."""

from __future__ import annotations

import pytest
import torch

from helicon.gpt import linear as module
from helicon.gpt.linear import Linear, linear


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("lead", [(), (1,), (3,), (2, 5), (0, 5)])
@torch.inference_mode()
def test_the_product_of_what_learns_nothing(lead, bias):
    torch.manual_seed(0)
    layer = Linear(37, 13, bias=bias)
    x = torch.randn(*lead, 74)[..., ::2]
    exact = x.double() @ layer.weight.double().T + (layer.bias.double() if bias else 0)
    torch.testing.assert_close(layer(x), exact.float())


@torch.inference_mode()
def test_some_rows_of_a_matrix():
    x, weight = torch.randn(2, 8), torch.randn(20, 8)
    torch.testing.assert_close(linear(x, weight[3:9]), x @ weight[3:9].T)


def test_learning_goes_by_what_has_a_gradient():
    layer = Linear(4, 3).double()
    assert torch.autograd.gradcheck(layer, torch.randn(2, 4, dtype=torch.float64, requires_grad=True))
    layer = layer.float()
    layer(torch.ones(2, 4)).sum().backward()
    torch.testing.assert_close(layer.weight.grad, torch.full((3, 4), 2.0))


@torch.inference_mode()
def test_autocast_is_obeyed():
    with torch.autocast("cpu", torch.bfloat16):
        assert Linear(4, 3)(torch.ones(2, 4)).dtype == torch.bfloat16


@pytest.mark.skipif(module._onednn is None, reason="PyTorch was built without oneDNN")
def test_onednn_is_asked_where_nothing_learns(monkeypatch):
    asked = []
    monkeypatch.setattr(module, "_onednn", lambda x, *rest: asked.append(x) or x)
    layer, x = Linear(4, 3), torch.ones(2, 4)
    with torch.no_grad():
        assert layer(x) is x
        layer.double()(x.double())
    assert len(asked) == 1
