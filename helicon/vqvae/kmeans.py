"""K-means on any device: a start for a codebook of latents, and palettes of colours.

Shapes: N rows, D features, K centroids, C candidates.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf, log
from typing import NamedTuple

import torch
from torch import Tensor

CPU_DISTANCES, GPU_DISTANCES = 1 << 18, 1 << 26  # between rows and centroids at a time: on a CPU as its cache holds


def nearest(rows_ND: Tensor, centroids_KD: Tensor) -> Tensor:
    """Index of the nearest centroid in squared distance, int64 [N]; autocast does not round the distances."""
    squares_K = centroids_KD.square().sum(-1)
    distances = CPU_DISTANCES if rows_ND.device.type == "cpu" else GPU_DISTANCES
    chunks = rows_ND.split(max(1, distances // len(centroids_KD)))
    with torch.autocast(rows_ND.device.type, enabled=False):
        # |x|^2 is the same for all centroids
        parts = [torch.addmm(squares_K, chunk, centroids_KD.T, alpha=-2).argmin(-1) for chunk in chunks]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64, device=rows_ND.device)


class Clusters(NamedTuple):
    """centroids [K, D]; mass [K]: total weight of the rows whose mean each is; cost: that of the round before."""

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
    """Lloyd's rounds: centroids move to the means of the rows they are nearest to; empty ones to rows that cost most.

    Args:
        rows_ND: what is clustered.
        start_KD: centroids to begin with.
        weights_N: how often each row counts; once unless given.
        rounds: at most so many.
        least_gain: ends before the round after one that lowered the cost by no more than this share of it.
        assign: centroids [K, D] -> index of the nearest to each row, int64 [N], where there is a quicker way.
    """
    weights_N = rows_ND.new_ones(len(rows_ND)) if weights_N is None else weights_N
    assign = assign or partial(nearest, rows_ND)
    centroids, mass, before, done = start_KD, rows_ND.new_zeros(len(start_KD)), inf, 0
    while rounds is None or done < rounds:
        index_N = assign(centroids)
        costs_N = _away(rows_ND, centroids[index_N]) * weights_N
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
    """Different rows to begin with, [K, D]."""
    return rows_ND[torch.randperm(len(rows_ND), device=rows_ND.device)[:clusters]]


def plus_plus(rows_ND: Tensor, clusters: int, weights_N: Tensor, generator: torch.Generator) -> Tensor:
    """Rows to begin with, [K, D], drawn by what they cost, the squared distance to the nearest one drawn before.

    k-means++ (Arthur and Vassilvitskii 2007), with the best of 2 + ln K candidates for each, as in scikit-learn.
    """
    squares_N = rows_ND.square().sum(-1)
    least_N, chosen = 4 * squares_N.max().expand(len(rows_ND)), []  # no two rows are further apart
    for candidates in [1] + [2 + int(log(clusters))] * (clusters - 1):
        sums_N = (weights_N * least_N).cumsum(0)
        draws_C = torch.rand(candidates, generator=generator, dtype=sums_N.dtype, device=sums_N.device) * sums_N[-1]
        drawn_C = torch.searchsorted(sums_N, draws_C, right=True).clamp(max=len(rows_ND) - 1)
        away_CN = torch.addmm(squares_N, rows_ND[drawn_C], rows_ND.T, alpha=-2).add_(squares_N[drawn_C, None])
        best = int((torch.minimum(away_CN, least_N) @ weights_N).argmin())
        least_N = _away(rows_ND, rows_ND[drawn_C[best]]).minimum(least_N)
        chosen.append(drawn_C[best])
    return rows_ND[torch.stack(chosen)]


def _away(rows_ND: Tensor, others_ND: Tensor) -> Tensor:
    """Squared distances [N]."""
    return torch.linalg.vector_norm(rows_ND - others_ND, dim=-1).square()
