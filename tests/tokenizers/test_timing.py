"""Tokens at a constant rate: where in the piece each stands, and pieces of exactly the length that was asked for."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helicon.tokenizers.base import stepped
from helicon.tokenizers.timing import TimeAutomaton, tokens_in

pytestmark = pytest.mark.usefixtures("one_thread")

RATES = [0.5, 7.0, 8000 / 24, 44100 / 128, 500.0, 22050 / 16, 8000.0, 88200.0]
SECONDS = [0.5, 1 / 3, 0.1, 0.3, 0.7, 1.1, 2.675, 29.99, 60.0, 119.9, 120.0]
V = 3


def walk(automaton: TimeAutomaton, state, steps: int) -> list[int]:
    """Tokens that each row has before `eos` must come, where it is taken only when nothing else is allowed."""
    lengths = [0] * len(state["time"])
    done = torch.zeros(len(lengths), dtype=torch.bool)
    for _ in range(steps):
        allowed = automaton.allowed(state)
        assert allowed.any(1).all()
        done |= ~allowed[:, 0]
        if done.all():
            return lengths
        lengths = [n + (not ended) for n, ended in zip(lengths, done.tolist())]
        state = automaton.step(state, torch.where(done, V, 1))
    return lengths


def test_coordinates_of_two_seconds_of_eight_tokens_each():
    automaton = TimeAutomaton(V, 8.0)
    coords = automaton.scan(np.zeros(16, np.int64))
    assert coords["time"].tolist() == list(range(1, 17))
    # 8 rows an octave from the first sixteenth of a second on: 2 seconds are 5 octaves more
    assert coords["total"].tolist() == [1 + 5 * 8] * 16
    assert coords["elapsed"].tolist() == [9, 17, 25, 33, 41, 49, 57, 65, 73, 81, 89, 97, 105, 113, 121, 128]
    rows = automaton.position(coords, {axis: np.int64(0) for axis in coords})
    assert rows["time"].tolist() == list(range(2, 33, 2))  # sixteenths of a second
    assert automaton.axes == {"time": 1024, "total": 129, "elapsed": 129}
    assert {axis: values.tolist() for axis, values in automaton.scan(np.zeros(2, np.int64), plan=False).items()} == {
        "time": [1, 2], "total": [0, 0], "elapsed": [0, 0],
    }  # fmt: skip


@pytest.mark.parametrize("rate", RATES)
def test_coordinates_are_those_of_exact_fractions(rate):
    automaton = TimeAutomaton(V, rate)
    for length in (1, 2, 5, 37, 1000, 20_000):
        coords = automaton.scan(np.zeros(length, np.int64))
        rows = automaton.position(coords, {axis: np.int64(0) for axis in coords})
        for n in {1, length // 3, length - 1, length} - {0}:
            seconds, whole = n / Fraction(rate), length / rate
            assert rows["time"][n - 1] == min(1023, math.floor(round(seconds * 16, 6)))
            assert rows["elapsed"][n - 1] == 1 + min(127, 128 * n // length)
            octaves = math.log2(whole * 16)
            # A length between two rows has the one below
            assert rows["total"][n - 1] == 1 + min(127, max(0, math.floor(8 * octaves + 1e-9)))


@given(st.sampled_from(RATES), st.integers(0, 300), st.booleans())
@settings(max_examples=60, deadline=None)
def test_scan_equals_stepping(rate, length, plan):
    automaton, ids = TimeAutomaton(V, rate), torch.arange(length) % V
    state = automaton.constrain(automaton.start(1), length=length if plan and length else None)
    state, trace = stepped(automaton, state, ids)
    assert int(state["time"]) == length
    for axis, values in automaton.scan(ids.numpy(), plan).items():
        assert values.tolist() == trace[axis][1:].tolist()
    assert [int(trace[axis][0]) for axis in ("time", "elapsed")] == [0, int(plan and length > 0)]


def test_positions_are_clipped_and_the_same_for_tensors():
    automaton = TimeAutomaton(V, 44100 / 128)
    coords = {"time": np.array([0, 21, 22, 10**9]), "total": np.array([0, 1, 5, 128]), "elapsed": np.arange(4)}
    rows = automaton.position(coords, {axis: np.int64(0) for axis in coords})
    assert rows["time"].tolist() == [0, 0, 1, 1023]
    tensors = {axis: torch.from_numpy(values) for axis, values in coords.items()}
    found = automaton.position(tensors, {axis: torch.tensor(0) for axis in coords})
    assert {axis: each.tolist() for axis, each in found.items()} == {axis: each.tolist() for axis, each in rows.items()}


@pytest.mark.parametrize("rate", RATES)
def test_seconds_are_the_fewest_tokens_that_last_as_long(rate):
    for seconds in SECONDS:
        exact = Fraction(str(seconds)) * Fraction(rate).limit_denominator(1000)
        assert tokens_in(seconds, rate) == max(1, math.ceil(round(exact, 9)))
    for n in [*range(1, 2000), 60_000, int(120 * rate)]:
        # What floats add to a whole number of tokens is no further token, and a part of one is
        assert tokens_in(n / rate, rate) == n
        assert tokens_in(np.nextafter(n / rate, np.inf), rate) == n
        assert tokens_in((n + 0.01) / rate, rate) == n + 1


@pytest.mark.parametrize("rate", [r for r in RATES if r < 1000])
def test_a_piece_is_exactly_as_long_as_was_asked_for(rate):
    automaton = TimeAutomaton(V, rate)
    for seconds in (s for s in SECONDS if s * rate < 400):
        state = automaton.constrain(automaton.start(2), seconds=seconds)
        assert walk(automaton, state, 500) == [tokens_in(seconds, rate)] * 2


def test_what_may_come_next():
    automaton = TimeAutomaton(V, 8.0)
    anything, ended, either = [True] * V + [False], [False] * V + [True], [True] * (V + 1)
    state = automaton.start(1)
    assert automaton.allowed(state).tolist() == [anything]  # a piece has a token at least
    state = automaton.step(state, torch.tensor([2]))
    assert automaton.allowed(state).tolist() == [either]
    assert automaton.allowed(automaton.constrain(state, tokens=0)).tolist() == [ended]
    assert automaton.allowed(automaton.constrain(state, seconds=0.2)).tolist() == [anything]
    assert automaton.allowed(automaton.constrain(state, seconds=0.1)).tolist() == [ended]
    assert automaton.allowed(automaton.constrain(state, length=1)).tolist() == [ended]


@pytest.mark.parametrize(
    ("wish", "tokens"),
    [
        ({"seconds": 1.0}, 8),
        ({"length": 5}, 5),
        ({"seconds": 1.0, "length": 5}, 5),
        ({"seconds": 1.0, "length": 11}, 8),
        ({"tokens": 3}, 3),
        ({"seconds": 1.0, "tokens": 3}, 3),
        ({"seconds": 0.25, "tokens": 3, "instruments": ("piano",)}, 2),
    ],
)
def test_the_least_of_what_is_asked_for_counts(wish, tokens):
    automaton = TimeAutomaton(V, 8.0)
    assert walk(automaton, automaton.constrain(automaton.start(1), **wish), 30) == [tokens]
    state = automaton.start(1)
    for name, value in wish.items():
        state = automaton.constrain(state, **{name: value})
    assert walk(automaton, state, 30) == [tokens]


@pytest.mark.parametrize(("prime", "more"), [(0, 8), (3, 5), (7, 1), (8, 0), (20, 0)])
def test_a_prime_is_a_part_of_the_piece(prime, more):
    automaton = TimeAutomaton(V, 8.0)
    state, _ = stepped(automaton, automaton.start(1), torch.zeros(prime, dtype=torch.int64))
    assert walk(automaton, automaton.constrain(state, seconds=1.0), 30) == [more]
    assert walk(automaton, automaton.constrain(state, tokens=2), 30) == [2]  # more, whatever there was before


def test_rows_keep_their_own_time_and_stop_changes_nothing():
    automaton = TimeAutomaton(V, 8.0)
    first, _ = stepped(automaton, automaton.constrain(automaton.start(1), length=4), torch.tensor([0, 1]))
    second = automaton.constrain(automaton.start(1), tokens=7)
    both = {name: torch.cat([first[name], second[name]]) for name in first}
    assert walk(automaton, both, 30) == [2, 7]
    after = automaton.step(both, torch.tensor([V, V]))
    assert all(torch.equal(after[name], both[name]) for name in both)
    assert {axis: values.tolist() for axis, values in automaton.coords(both).items()} == {
        "time": [2, 0],
        "total": [1 + 8 * 3, 0],  # half a second is 3 octaves above a sixteenth
        "elapsed": [65, 0],
    }


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"seconds": 0}, "seconds must be above 0 and at most 1,000,000, got 0"),
        ({"seconds": -1.5}, "seconds must be"),
        ({"seconds": float("nan")}, "seconds must be"),
        ({"seconds": float("inf")}, "seconds must be"),
        ({"length": 0}, "length must be at least 1, got 0"),
        ({"tokens": -1}, "tokens must be at least 0, got -1"),
    ],
)
def test_wishes_that_cannot_be_are_refused(wish, message):
    automaton = TimeAutomaton(V, 8.0)
    with pytest.raises(ValueError, match=message):
        automaton.constrain(automaton.start(1), **wish)


@pytest.mark.parametrize(("vocabulary", "rate"), [(0, 8.0), (3, 0.0), (3, float("inf")), (3, float("nan"))])
def test_an_automaton_without_tokens_or_time_is_refused(vocabulary, rate):
    with pytest.raises(ValueError, match="a rate above 0 and 1 token or more are needed"):
        TimeAutomaton(vocabulary, rate)
