"""K-means: the fast search beside the slow one, and what Lloyd's rounds promise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from helicon.vqvae import kmeans as module
from helicon.vqvae.kmeans import kmeans, nearest, plus_plus, random_rows


def slow_nearest(rows: Tensor, centroids: Tensor) -> Tensor:
    """All distances, as they are written down."""
    return (rows[:, None] - centroids[None]).square().sum(-1).argmin(-1)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_nearest_is_that_of_all_distances(monkeypatch, chunk):
    monkeypatch.setattr(module, "CPU_DISTANCES", 9 * chunk)
    torch.manual_seed(0)
    rows, centroids = torch.randn(50, 6).double(), torch.randn(9, 6).double()
    found = nearest(rows, centroids)
    assert (found.shape, found.dtype) == ((50,), torch.int64)
    assert torch.equal(found, slow_nearest(rows, centroids))


def test_nearest_in_numbers():
    centroids = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 4.0]])
    rows = torch.tensor([[4.9, 0.0], [5.1, 0.0], [0.0, 2.1], [0.0, 1.9], [5.0, 0.0]])
    assert nearest(rows, centroids).tolist() == [0, 1, 2, 0, 0]  # the first of equals
    assert nearest(rows[:0], centroids).tolist() == []


def test_autocast_does_not_round_distances():
    torch.manual_seed(0)
    centroids = 1 + torch.arange(64.0)[:, None] / 1000  # bfloat16 has 1, 1.0078125 and nothing in between
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert nearest(centroids, centroids).tolist() == list(range(64))


def test_clusters_are_found_and_counted():
    torch.manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]])
    rows = (centres.repeat_interleave(torch.tensor([5, 10, 20]), 0) + torch.randn(35, 2))[torch.randperm(35)]
    tries = [kmeans(rows, random_rows(rows, 3)) for _ in range(10)]  # some starts join two clusters and part the third
    found, mass, cost = min(tries, key=lambda tried: tried.cost)
    order = mass.argsort()
    assert mass[order].tolist() == [5, 10, 20]
    own = torch.stack([rows[slow_nearest(rows, centres) == i].mean(0) for i in range(3)])
    torch.testing.assert_close(found[order], own)
    assert cost == pytest.approx(float((rows - own[slow_nearest(rows, own)]).square().sum()))


def test_empty_clusters_begin_anew():
    """However often both start from the same row, the one that gets nothing is put where it costs most."""
    rows = torch.tensor([[60.0]] * 10 + [[160.0]] * 10)
    for start in ([[60.0], [60.0]], [[160.0], [160.0]], [[60.0], [160.0]], [[100.0], [1000.0]]):
        found, mass, cost = kmeans(rows, torch.tensor(start))
        assert sorted(found.flatten().tolist()) == [60.0, 160.0]
        assert (mass.tolist(), cost) == ([10, 10], 0.0)


def test_rounds_are_lloyds():
    torch.manual_seed(1)
    rows = torch.randn(400, 3).double()
    start = centroids = random_rows(rows, 8)
    errors = []
    for rounds in range(1, 6):
        index = slow_nearest(rows, centroids)
        centroids = torch.stack([rows[index == k].mean(0) for k in range(8)])
        found, mass, _ = kmeans(rows, start, rounds=rounds)
        torch.testing.assert_close(found, centroids)
        assert torch.equal(mass, torch.bincount(index, minlength=8).double())
        errors.append(float((rows - found[slow_nearest(rows, found)]).square().sum()))
    assert errors == sorted(errors, reverse=True)


def test_a_row_of_weight_three_is_three_rows():
    torch.manual_seed(2)
    rows, weights = torch.randn(60, 2).double(), torch.randint(1, 4, (60,))
    start = random_rows(rows, 5)
    found, each = kmeans(rows, start, weights.double()), kmeans(rows.repeat_interleave(weights, 0), start)
    torch.testing.assert_close(found.centroids, each.centroids)
    torch.testing.assert_close(found.mass, each.mass)
    assert found.cost == pytest.approx(each.cost)


def test_a_gain_that_is_small_enough_ends_the_rounds():
    torch.manual_seed(3)
    rows = torch.randn(500, 2).double()
    start, seen = random_rows(rows, 20), []

    def assign(centroids: Tensor) -> Tensor:
        seen.append(nearest(rows, centroids))
        return seen[-1]

    rounds, costs = [], []
    for gain in (0.2, 0.01, 0.0):
        seen.clear()
        costs.append(kmeans(rows, start, least_gain=gain, assign=assign).cost)
        rounds.append(len(seen))
    assert 2 <= rounds[0] < rounds[1] < rounds[2]
    assert costs[0] > costs[1] > costs[2]


def test_first_rows_are_drawn_by_what_they_cost():
    """Of three far clusters, one of them a single row that hardly counts, each gives one of three rows."""
    torch.manual_seed(4)
    rows = torch.cat([torch.randn(50, 2), 1000 + torch.randn(50, 2), torch.tensor([[-3000.0, 0.0]])])
    weights = torch.cat([torch.ones(100), torch.tensor([0.1])])
    for seed in range(10):
        chosen = plus_plus(rows, 3, weights, torch.Generator().manual_seed(seed))
        assert sorted(torch.cdist(chosen, rows).argmin(1).div(50, rounding_mode="floor").tolist()) == [0, 1, 2]


def test_rows_without_weight_are_never_drawn():
    rows, weights = torch.tensor([[0.0], [1.0], [9.0]]), torch.tensor([1.0, 1.0, 0.0])
    for seed in range(10):
        chosen = plus_plus(rows, 2, weights, torch.Generator().manual_seed(seed))
        assert sorted(chosen.flatten().tolist()) == [0.0, 1.0]
