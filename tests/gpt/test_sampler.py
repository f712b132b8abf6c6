"""Sampling methods on numbers small enough to check by hand, and the draw."""

from __future__ import annotations

import math

import pytest
import torch

from helicon.gpt.sampler import MinP, PerItemRNG, RepetitionPenalty, Temperature, TopK, TopP, logits_processors, sample
from helicon.sampling import SamplingOptions

NEVER = float("-inf")
NOTHING_SEEN = torch.zeros(1, 4, dtype=torch.bool)


def logits(*probabilities: float) -> torch.Tensor:
    return torch.tensor([probabilities], dtype=torch.float64).log()


def kept(method, *probabilities: float) -> list[int]:
    changed = method(logits(*probabilities), torch.zeros(1, len(probabilities), dtype=torch.bool))
    return (changed[0] > NEVER).nonzero().flatten().tolist()


def test_temperature_divides_and_zero_is_greedy():
    assert Temperature(2.0)(torch.tensor([[2.0, 4.0, 0.0]]), NOTHING_SEEN).tolist() == [[-1, 0, -2]]
    assert Temperature(0.0)(torch.tensor([[2.0, 4.0, 0.0]]), NOTHING_SEEN).tolist() == [[NEVER, 0, NEVER]]
    assert kept(Temperature(0.0), 0.25, 0.25, 0.5) == [2]
    assert kept(Temperature(5.0), 0.5, 0.0, 0.5) == [0, 2]


@pytest.mark.parametrize("value", [1e-3, 1e-300, 5e-324])
def test_no_temperature_is_too_small(value):
    many = torch.tensor([[3.0, 90.0, NEVER, 90.0]])
    found = {
        int(sample(many, None, NOTHING_SEEN, torch.tensor([u]), [Temperature(value)])) for u in (0.0, 0.4, 0.6, 0.9)
    }
    assert found == {1, 3}


def test_top_k_keeps_the_likeliest_and_their_ties():
    assert kept(TopK(1), 0.1, 0.6, 0.3) == [1]
    assert kept(TopK(2), 0.1, 0.6, 0.3) == [1, 2]
    assert kept(TopK(2), 0.2, 0.2, 0.5, 0.1) == [0, 1, 2]
    assert kept(TopK(9), 0.1, 0.6, 0.3) == [0, 1, 2]


def test_top_p_keeps_the_fewest_that_reach_it():
    assert kept(TopP(0.5), 0.1, 0.5, 0.4) == [1]
    assert kept(TopP(0.51), 0.1, 0.5, 0.4) == [1, 2]
    assert kept(TopP(0.05), 0.1, 0.5, 0.4) == [1]
    assert kept(TopP(1.0), 0.1, 0.5, 0.4) == [0, 1, 2]


def test_min_p_is_a_share_of_the_likeliest():
    assert kept(MinP(0.49), 0.1, 0.6, 0.3) == [1, 2]
    assert kept(MinP(0.51), 0.1, 0.6, 0.3) == [1]
    assert kept(MinP(0.0), 0.1, 0.6, 0.3) == [0, 1, 2]


def test_the_repetition_penalty_lowers_what_was_seen():
    seen = torch.tensor([[True, True, False, False]])
    assert RepetitionPenalty(2.0)(torch.tensor([[3.0, -3.0, 3.0, -3.0]]), seen).tolist() == [[1.5, -6, 3, -3]]


def test_the_chain_is_in_its_usual_order():
    chain = logits_processors(SamplingOptions(temperature=0.7, top_k=5, top_p=0.9, min_p=0.1, repetition_penalty=1.2))
    assert chain == (RepetitionPenalty(1.2), Temperature(0.7), TopK(5), TopP(0.9), MinP(0.1))
    assert logits_processors(SamplingOptions()) == (Temperature(1.0),)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"temperature": -0.1}, "temperature must be 0 or more, got -0.1"),
        ({"temperature": math.nan}, "temperature must be"),
        ({"temperature": math.inf}, "temperature must be"),
        ({"top_k": 0}, "top_k must be 1 or more, got 0"),
        ({"top_p": 0.0}, "top_p must be above 0"),
        ({"top_p": 1.1}, "top_p must be above 0"),
        ({"min_p": 1.5}, "min_p must be between 0 and 1"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be above 0"),
        ({"repetition_penalty": math.inf}, "repetition_penalty must be above 0"),
    ],
)
def test_a_setting_out_of_range_is_named(setting, message):
    with pytest.raises(ValueError, match=message):
        logits_processors(SamplingOptions(**setting))


@pytest.mark.parametrize(("uniform", "token"), [(0.0, 1), (0.24, 1), (0.26, 3), (0.99, 3), (1.0, 3)])
def test_a_draw_is_the_inverse_of_the_cdf(uniform, token):
    assert sample(logits(0.0, 0.25, 0.0, 0.75, 0.0), None, NOTHING_SEEN, torch.tensor([uniform]), []).tolist() == [
        token
    ]


def test_draws_have_the_frequencies_of_the_distribution():
    count, wanted = 20_000, torch.tensor([0.05, 0.5, 0.15, 0.3])
    uniform = torch.rand(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    seen = NOTHING_SEEN.expand(count, -1)
    ids = sample(wanted.log().expand(count, -1), None, seen, uniform, logits_processors(SamplingOptions()))
    found = torch.bincount(ids, minlength=4) / count
    torch.testing.assert_close(found, wanted, atol=0.012, rtol=0)


@pytest.mark.parametrize(
    "chain",
    [
        logits_processors(SamplingOptions()),
        logits_processors(SamplingOptions(temperature=0.0)),
        logits_processors(SamplingOptions(temperature=1e-9)),
        logits_processors(SamplingOptions(temperature=9.0, top_k=4, top_p=0.9, min_p=0.01, repetition_penalty=5.0)),
    ],
)
def test_what_is_forbidden_is_never_drawn(chain):
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(3000, 50, generator=generator) * 30
    allowed = torch.rand(3000, 50, generator=generator) < 0.05
    allowed[torch.arange(3000), torch.randint(50, (3000,), generator=generator)] = True
    for uniform in (torch.rand(3000, generator=generator), torch.zeros(3000), torch.ones(3000)):
        ids = sample(scores, allowed, ~allowed, uniform, chain)
        assert allowed[torch.arange(3000), ids].all()


def test_uniform_numbers_are_a_function_of_seed_and_item():
    one, same, other = PerItemRNG(7, 3), PerItemRNG(7, 3), PerItemRNG(7, 4)
    chunks = [(one.chunk(), same.chunk(), other.chunk()) for _ in range(3)]
    assert all(torch.equal(a, b) and not torch.equal(a, c) for a, b, c in chunks)
    assert torch.cat([a for a, *_ in chunks]).unique().numel() == 3 * PerItemRNG.CHUNK
    first = torch.tensor([[float(PerItemRNG(seed, item).chunk()[0]) for item in range(50)] for seed in range(20)])
    assert first.unique().numel() == 1000
    assert abs(float(first.mean()) - 0.5) < 0.05
    whole = chunks[0][0]
    assert whole.dtype == torch.float64
    assert 0 <= float(whole.min()) <= float(whole.max()) < 1
