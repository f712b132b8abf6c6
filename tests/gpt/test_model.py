"""Widths of a GPT's parts; queries and keys narrower than values attend as the formula says, whole and cached."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from helicon.gpt.attention.attend import attend_dense
from helicon.gpt.attention.patterns import parse_pattern
from helicon.gpt.cache import Cache
from helicon.gpt.layer import Attention, RMSNorm
from helicon.gpt.model import GPT, GPTConfig
from helicon.gpt.rotary import Angles, rotate
from helicon.sequence.layout import PatternContext

pytestmark = pytest.mark.usefixtures("one_thread")
WRITTEN = ["dense", "strided:4", "column", "conv:3"]
FRAME = PatternContext(3, 4)  # three tokens, then a grid of rows of 4


@pytest.mark.parametrize(
    ("shape", "hidden", "narrow", "values"),
    [
        (GPTConfig(width=256), 1024, 256, 256),
        (GPTConfig(width=256, heads=2, mlp_ratio=2.0, qk_ratio=0.5), 512, 128, 256),  # Sparse Transformer's on CIFAR-10
        (GPTConfig(width=768, mlp="swiglu"), 2048, 768, 768),
        (GPTConfig(width=1024, mlp="swiglu"), 2752, 1024, 1024),
        (GPTConfig(width=1024, mlp="swiglu", mlp_ratio=4.125), 2816, 1024, 1024),  # LlamaGen-L's
        (GPTConfig(width=96, heads=3, mlp_ratio=1 / 3, qk_ratio=0.25), 32, 24, 96),
        (GPTConfig(width=240, heads=8, mlp_ratio=1.0, attention_ratio=0.2), 240, 48, 48),
        (GPTConfig(width=100, heads=3, attention_ratio=0.36, qk_ratio=0.5), 400, 18, 36),
        (GPTConfig(width=24, heads=2, attention_ratio=1.5), 96, 36, 36),
    ],
    ids=str,
)
def test_widths(shape, hidden, narrow, values):
    layer = GPT(shape, 7, 1).layers[0]
    assert (shape.mlp_width, shape.qk_width, shape.value_width) == (hidden, narrow, values)
    assert shape.head_width * shape.heads == values
    assert layer.mlp.out.in_features == hidden
    assert layer.attention.qkv.weight.shape == (2 * narrow + values, shape.width)
    assert layer.attention.out.weight.shape == (shape.width, values)


def test_a_layer_of_jukebox_has_three_times_its_width_squared():
    layer = GPT(GPTConfig(layers=1, width=64, heads=2, bias=False, mlp_ratio=1.0, attention_ratio=0.25), 7, 1).layers[0]
    assert sum(weight.numel() for weight in layer.parameters() if weight.dim() > 1) == 3 * 64**2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"qk_ratio": 0.3}, r"qk_ratio 0.3: a share of the head width 8 that is whole"),
        ({"qk_ratio": 0.0}, "qk_ratio 0: "),
        ({"qk_ratio": 1.5}, "qk_ratio 1.5: "),
        ({"attention_ratio": 0.3}, r"attention_ratio 0.3: a multiple of the width 32, above 0, that the heads, 4 here"),
        ({"attention_ratio": 0.0}, "attention_ratio 0: "),
        ({"attention_ratio": float("nan")}, "attention_ratio nan: "),
        ({"attention_ratio": float("inf")}, "attention_ratio inf: "),
        ({"attention_ratio": 0.25, "qk_ratio": 0.75}, "qk_ratio 0.75: a share of the head width 2 that is whole"),
        ({"mlp_ratio": 0.01}, "mlp_ratio 0.01: a number that makes a hidden width of 1 or more"),
        ({"mlp_ratio": float("nan")}, "mlp_ratio nan: "),
        ({"mlp_ratio": float("inf")}, "mlp_ratio inf: "),
    ],
)
def test_ratios_that_cannot_be(settings, message):
    with pytest.raises(ValueError, match=message):
        GPTConfig(width=32, heads=4, **settings)


@pytest.mark.parametrize(
    ("written", "rope", "qk_norm", "widths"),
    [*product(WRITTEN, [False, True], [False, True], [{"width": 32}, {"width": 128, "attention_ratio": 0.25}])],
)
def test_narrow_queries_and_keys_attend_as_the_formula_says(written, rope, qk_norm, widths):
    torch.manual_seed(0)
    shape = GPTConfig(layers=1, heads=2, qk_ratio=0.25, qk_norm=qk_norm, **widths)
    attention, pattern = Attention(shape, parse_pattern(written)).double(), parse_pattern(written)
    attention.qkv.weight.data.mul_(4)
    x = torch.randn(2, 14, shape.width, dtype=torch.float64)
    angles = Angles.of(torch.arange(14).expand(2, -1), 4) if rope else None
    q, k, v = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in attention.qkv(x).tensor_split((8, 16), dim=-1))
    q, k = attention.q_norm(q), attention.k_norm(k)
    if angles:
        q, k = rotate(q, angles), rotate(k, angles)
    assert (q.shape, v.shape) == ((2, 2, 14, 4), (2, 2, 14, 16))
    expected = attention.out(attend_dense(q, k, v, pattern, FRAME).transpose(1, 2).flatten(2))
    found = attention(x, angles, FRAME, None, 0)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    weights = list(attention.parameters())
    grads = [torch.autograd.grad(each.square().sum(), weights) for each in (found, expected)]
    torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("written", "width", "ratios"),
    [*product(WRITTEN, [32], [{"qk_ratio": 0.5}]), *product(WRITTEN, [48], [{"attention_ratio": 2 / 3}])],
)
def test_narrow_attention_from_a_cache(written, width, ratios):
    torch.manual_seed(1)
    shape = GPTConfig(layers=2, width=width, heads=2, pattern=written, mlp_ratio=2.0, **ratios)
    gpt = GPT(shape, 11, 1).eval()
    for parameter in gpt.parameters():
        parameter.data.mul_(4 if parameter.dim() > 1 else 1)
    ids, rows = torch.randint(11, (2, 14)), torch.zeros(2, 14, 0, dtype=torch.int64)
    with torch.inference_mode():
        whole = gpt(ids, rows, FRAME)
        cache = Cache(2, 2, 2, 14, 16, "cpu", torch.float32)
        gpt(ids[:, :5], rows[:, :5], FRAME, cache)
        for i in range(5, 14):
            step = gpt.step(ids[:, i], rows[:, i], torch.full((2,), i), FRAME, cache)
            torch.testing.assert_close(step, whole[:, i], rtol=1e-4, atol=1e-4)


def test_what_is_made_for_the_weights_of_a_file_is_not_initialised(monkeypatch):
    """A bundle may have many layers, whose weights are drawn one by one."""
    drawn, draw = [], torch.nn.init.normal_
    monkeypatch.setattr(torch.nn.init, "normal_", lambda *a, **k: drawn.append(1) or draw(*a, **k))
    counts = []
    for device, layers in (("meta", 1), ("meta", 3), ("cpu", 1), ("cpu", 3)):
        drawn.clear()
        with torch.device(device):
            GPT(GPTConfig(layers=layers, width=8, heads=1), 10, 4)
        counts.append(len(drawn))
    assert counts[0] == counts[1]  # PyTorch's tables alone, which draw by themselves
    assert counts[2] < counts[3]


def test_without_coordinates_all_that_is_trained_has_a_gradient():
    """Several processes would wait for that of an empty table without end."""
    gpt = GPT(GPTConfig(layers=1, width=16, heads=2), vocabulary_size=20, coord_table_size=0, rope=True)
    gpt(torch.arange(6).view(1, 6), torch.zeros(1, 6, 0, dtype=torch.long), PatternContext(1)).square().sum().backward()
    assert [name for name, p in gpt.named_parameters() if p.requires_grad and p.grad is None] == []
    assert GPT(GPTConfig(layers=1, width=16, heads=2), 20, coord_table_size=1).places.weight.requires_grad


def test_norms_of_queries_and_keys_compute_in_the_format_of_what_they_normalise():
    norm = RMSNorm(4, eps=0.0)
    torch.nn.init.constant_(norm.weight, 0.5)
    x = torch.tensor([[1.0, -1.0, 1.0, 1.0], [3.0, 0.0, 0.0, 0.0]])
    expected = torch.tensor([[0.5, -0.5, 0.5, 0.5], [1.0, 0.0, 0.0, 0.0]])
    for dtype in (torch.float32, torch.bfloat16):
        assert torch.equal(norm(x.to(dtype)), expected.to(dtype))


@pytest.mark.parametrize("settings", [{}, {"mlp": "swiglu", "norm": "rms", "tied": False}], ids=str)
def test_where_there_is_to_be_no_bias_there_is_none(settings):
    names = [
        name
        for name, _ in GPT(GPTConfig(layers=2, width=16, heads=2, bias=False, **settings), 11, 1).named_parameters()
    ]
    assert [name for name in names if name.endswith("bias")] == []
    assert sum(name.endswith("out.weight") for name in names) == 4
