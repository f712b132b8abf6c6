"""K-means on any device, for the initial codebook of latents and for palettes of colours.

Shapes: N rows, D features, K centroids, C candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf, log
from typing import NamedTuple

import torch
from torch import Tensor

# Distances between rows and centroids that are computed at a time: on a CPU as many as its cache holds
CPU_DISTANCES, GPU_DISTANCES = 1 << 18, 1 << 26


def nearest(rows_ND: Tensor, centroids_KD: Tensor) -> Tensor:
    """Find the centroid at the least squared distance, in the rows' precision even under autocast.

    Args:
        rows_ND: N rows of D features, float.
        centroids_KD: K centroids.

    Returns:
        Index of the nearest centroid, int64 [N]; of equally near ones the first.
    """
    squares_K = centroids_KD.square().sum(-1)
    distances = CPU_DISTANCES if rows_ND.device.type == "cpu" else GPU_DISTANCES
    chunks = rows_ND.split(max(1, distances // len(centroids_KD)))
    with torch.autocast(rows_ND.device.type, enabled=False):
        # |x|^2 is the same for all centroids
        parts = [torch.addmm(squares_K, chunk, centroids_KD.T, alpha=-2).argmin(-1) for chunk in chunks]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64, device=rows_ND.device)


class Clusters(NamedTuple):
    """Result of k-means.

    Attributes:
        centroids: [K, D].
        mass: total weight of each centroid's rows, [K].
        cost: weighted sum of squared distances to the centroids before the last update.
    """

    centroids: Tensor
    mass: Tensor
    cost: float


def kmeans(
    rows_ND: Tensor,
    start_KD: Tensor,
    weights_N: Tensor | None = None,
    *,
    rounds: int | None = None,
    least_gain: float = 0.0,
    assign: Callable[[Tensor], Tensor] | None = None,
) -> Clusters:
    """Run Lloyd's algorithm; centroids of empty clusters move to the rows that are furthest from theirs.

    Args:
        rows_ND: N rows of D features, float.
        start_KD: K initial centroids.
        weights_N: weight of each row, float; None for 1 each.
        rounds: number of rounds at most; None for no limit.
        least_gain: relative decrease of the cost in a round at or below which the algorithm ends.
        assign: faster function of centroids [K, D] to the index of each row's nearest, int64 [N]; None for `nearest`.

    Returns:
        `Clusters`: centroids [K, D], their mass [K] and the cost.
    """
    weights_N = rows_ND.new_ones(len(rows_ND)) if weights_N is None else weights_N
    assign = assign or partial(nearest, rows_ND)
    centroids, mass, before, done = start_KD, rows_ND.new_zeros(len(start_KD)), inf, 0
    while rounds is None or done < rounds:
        index_N = assign(centroids)
        costs_N = _squared_distances(rows_ND, centroids[index_N]) * weights_N
        cost = float(costs_N.sum())
        if before - cost <= least_gain * cost:
            return Clusters(centroids, mass, cost)
        mass = torch.zeros_like(mass).index_add_(0, index_N, weights_N)
        sums = torch.zeros_like(centroids).index_add_(0, index_N, rows_ND * weights_N[:, None])
        centroids = sums / mass.clamp(min=torch.finfo(mass.dtype).tiny)[:, None]
        if len(empty := (mass == 0).nonzero().flatten()):
            centroids[empty] = rows_ND[costs_N.argsort(descending=True, stable=True)[: len(empty)]]
        before, done = cost, done + 1
    return Clusters(centroids, mass, before)


def random_rows(rows_ND: Tensor, clusters: int) -> Tensor:
    """Draw initial centroids from the rows, without replacement.

    Args:
        rows_ND: N rows of D features, float.
        clusters: number of centroids K, at most N.

    Returns:
        Rows [K, D].
    """
    return rows_ND[torch.randperm(len(rows_ND), device=rows_ND.device)[:clusters]]


def plus_plus(rows_ND: Tensor, clusters: int, weights_N: Tensor, generator: torch.Generator) -> Tensor:
    """Draw initial centroids by k-means++ (Arthur and Vassilvitskii 2007).

    Each is a row drawn in proportion to the squared distance to the nearest centroid so far; as in scikit-learn, the
    best of 2 + ln K candidates counts.

    Args:
        rows_ND: N rows of D features, float.
        clusters: number of centroids K, at most N.
        weights_N: weight of each row, float.
        generator: source of the random numbers, on the rows' device.

    Returns:
        Rows [K, D].
    """
    squares_N = rows_ND.square().sum(-1)
    least_N, chosen = 4 * squares_N.max().expand(len(rows_ND)), []  # a bound on the squared distance of any two rows
    for candidates in [1] + [2 + int(log(clusters))] * (clusters - 1):
        sums_N = (weights_N * least_N).cumsum(0)
        draws_C = torch.rand(candidates, generator=generator, dtype=sums_N.dtype, device=sums_N.device) * sums_N[-1]
        drawn_C = torch.searchsorted(sums_N, draws_C, right=True).clamp(max=len(rows_ND) - 1)
        distances_CN = torch.addmm(squares_N, rows_ND[drawn_C], rows_ND.T, alpha=-2).add_(squares_N[drawn_C, None])
        best = int((torch.minimum(distances_CN, least_N) @ weights_N).argmin())
        least_N = _squared_distances(rows_ND, rows_ND[drawn_C[best]]).minimum(least_N)
        chosen.append(drawn_C[best])
    return rows_ND[torch.stack(chosen)]


def _squared_distances(rows_ND: Tensor, others_ND: Tensor) -> Tensor:
    """Squared distance of each row to its counterpart, [N]."""
    return torch.linalg.vector_norm(rows_ND - others_ND, dim=-1).square()
