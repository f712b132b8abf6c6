import numpy as np
import pytest

from helicon.evaluation.ngram import WittenBell

ABAC = np.array([0, 1, 0, 2])  # "a b a c" over the vocabulary a, b, c, d


def p(model: WittenBell, *ids: int) -> float:
    return float(np.exp(-model.token_nll(np.array(ids))[-1]))


def test_unigram_by_hand():
    # 4 tokens of 3 kinds: p(a) = (2 + 3/4) / 7, p(d) = (0 + 3/4) / 7.
    model = WittenBell(1, 4).fit([ABAC])
    assert p(model, 0) == pytest.approx(2.75 / 7)
    assert p(model, 1) == pytest.approx(1.75 / 7)
    assert p(model, 3) == pytest.approx(0.75 / 7)


def test_bigram_by_hand():
    model = WittenBell(2, 4).fit([ABAC])
    # After a: b and c, once each. p(b | a) = (1 + 2 p(b)) / 4, p(d | a) = (0 + 2 p(d)) / 4.
    assert p(model, 0, 1) == pytest.approx((1 + 2 * 1.75 / 7) / 4)
    assert p(model, 0, 3) == pytest.approx(2 * (0.75 / 7) / 4)
    # The begin symbol is a context too: p(a | begin) = (1 + 1 p(a)) / 2.
    assert p(model, 0) == pytest.approx((1 + 2.75 / 7) / 2)
    # Nothing was seen after c, so the unigram stands.
    assert p(model, 2, 1) == pytest.approx(1.75 / 7)


def test_trigram_by_hand():
    # After "b a": c, once. p(c | b a) = (1 + 1 p(c | a)) / 2.
    model = WittenBell(3, 4).fit([ABAC])
    assert p(model, 1, 0, 2) == pytest.approx((1 + (1 + 2 * 1.75 / 7) / 4) / 2)


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_sum_to_one_after_any_context(order):
    rng = np.random.default_rng(order)
    model = WittenBell(order, 7).fit([rng.integers(0, 6, n) for n in (40, 1, 0, 25)])
    for length in range(7):
        context = rng.integers(0, 7, length).tolist()
        assert sum(p(model, *context, token) for token in range(7)) == pytest.approx(1)


def test_sequences_do_not_run_into_each_other():
    apart, joined = WittenBell(2, 4).fit([ABAC, ABAC]), WittenBell(2, 4).fit([np.concatenate([ABAC, ABAC])])
    assert p(joined, 2, 0) > p(apart, 2, 0)


def test_a_model_of_nothing_is_uniform_and_fitting_again_starts_anew():
    model = WittenBell(3, 4)
    assert model.token_nll(ABAC) == pytest.approx([np.log(4)] * 4)
    assert model.fit([ABAC]).fit([]).token_nll(ABAC) == pytest.approx([np.log(4)] * 4)
    assert model.token_nll(np.array([], int)).shape == (0,)


def test_a_large_vocabulary_and_order_are_exact():
    # A cycle through 60,000 tokens, seen twice: longer contexts add certainty, none may collide.
    cycle = np.tile(np.arange(60_000), 2)
    losses = [WittenBell(order, 60_000).fit([cycle]).token_nll(cycle).mean() for order in (1, 2, 5)]
    assert losses[0] == pytest.approx(np.log(60_000))
    assert losses[0] > losses[1] > losses[2] > 0


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        WittenBell(0, 4)
    with pytest.raises(ValueError, match=r"0 \.\. 3"):
        WittenBell(2, 4).fit([np.array([4])])
    with pytest.raises(ValueError, match=r"0 \.\. 3"):
        WittenBell(2, 4).token_nll(np.array([-1]))
