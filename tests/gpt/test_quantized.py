"""int8 weights: rounded to half a step of their row, alone or in many rows, in whatever layer they stand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from helicon.gpt.model import GPT, GPTConfig
from helicon.gpt.numbers import cast
from helicon.gpt.quantized import MAX_INT8_ROWS, Int8Linear
from helicon.sequence.layout import PatternContext

pytestmark = pytest.mark.usefixtures("one_thread")


def test_weights_are_rounded_to_half_a_step_of_their_row():
    weight = torch.tensor([[127.0, 1.4, -64.0], [0.254, 0.0009, -0.1], [0.0, 0.0, 0.0]])
    layer = Int8Linear(weight)
    assert layer.weight.tolist()[:2] == [[127, 1, -64], [127, 0, -50]]
    assert layer.scale[:2].tolist() == pytest.approx([1.0, 0.002], rel=4e-3)
    assert layer.dequantize().tolist()[2] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("inputs", "outputs"), [(64, 48), (72, 10), (40, 33)])
@pytest.mark.parametrize("count", [1, 3, MAX_INT8_ROWS, MAX_INT8_ROWS + 1, 60])
def test_few_rows_and_many_give_the_same(inputs, outputs, count):
    torch.manual_seed(0)
    layer = Int8Linear(torch.randn(outputs, inputs), torch.randn(outputs))
    assert layer.bias is not None
    x = torch.randn(2, count, inputs).bfloat16()
    expected = x.float() @ layer.dequantize().float().T + layer.bias.float()
    for rows in (slice(None), slice(3, 9)):
        torch.testing.assert_close(layer(x[:1], rows).float(), expected[:1, :, rows], atol=0.15, rtol=0.02)


def test_a_gpt_keeps_its_outputs_and_its_tied_embedding():
    torch.manual_seed(0)
    shape = GPTConfig(layers=2, width=64, heads=2)
    gpt = GPT(shape, 100, 8).eval()
    exact, embedding = GPT(shape, 100, 8).eval(), gpt.tokens.weight.detach().clone()
    exact.load_state_dict(gpt.state_dict())
    small = cast(gpt, "int8")
    assert {type(m) for m in small.modules() if isinstance(m, nn.Linear | Int8Linear)} == {Int8Linear}
    assert torch.equal(small.tokens.weight, embedding.bfloat16())
    ids, rows, frame = torch.arange(30)[None], torch.zeros(1, 30, 1, dtype=torch.int64), PatternContext()
    with torch.inference_mode():
        found, expected = (g.logits(g(ids, rows, frame), slice(10, 90)) for g in (small, exact))
        torch.testing.assert_close(found.float(), expected, atol=0.05 * float(expected.std()), rtol=0.05)
        torch.testing.assert_close(small.head_weight.float(), exact.head_weight, atol=4e-4, rtol=1e-2)
