"""K-means: the fast search beside the slow one, and what Lloyd's rounds promise."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from helicon.vqvae import kmeans as module
from helicon.vqvae.kmeans import kmeans, nearest


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
    tries = [kmeans(rows, 3, rounds=20) for _ in range(10)]  # some starts join two clusters and part the third
    found, counts = min(tries, key=lambda tried: float(torch.cdist(rows, tried[0]).min(1).values.square().sum()))
    order = counts.argsort()
    assert counts[order].tolist() == [5, 10, 20]
    own = [rows[slow_nearest(rows, centres) == i].mean(0) for i in range(3)]
    torch.testing.assert_close(found[order], torch.stack(own))


def test_empty_clusters_begin_anew():
    """However often both start from the same row, the one that gets nothing is put elsewhere."""
    rows = torch.tensor([[60.0]] * 10 + [[160.0]] * 10)
    for seed in range(20):
        torch.manual_seed(seed)
        found, counts = kmeans(rows, 2, rounds=20)
        assert sorted(found.flatten().tolist()) == [60.0, 160.0]
        assert counts.tolist() == [10, 10]


def test_rounds_are_lloyds():
    torch.manual_seed(1)
    rows = torch.randn(400, 3).double()
    torch.manual_seed(5)
    centroids = rows[torch.randperm(400)[:8]]
    errors = []
    for rounds in range(1, 6):
        index = slow_nearest(rows, centroids)
        centroids = torch.stack([rows[index == k].mean(0) for k in range(8)])
        torch.manual_seed(5)
        found, counts = kmeans(rows, 8, rounds)
        torch.testing.assert_close(found, centroids)
        assert torch.equal(counts, torch.bincount(index, minlength=8).double())
        errors.append(float((rows - found[slow_nearest(rows, found)]).square().sum()))
    assert errors == sorted(errors, reverse=True)
