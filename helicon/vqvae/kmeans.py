"""K-means on latents: a start for a codebook, on any device.

Shapes: N rows, D features, K centroids.
"""

from __future__ import annotations

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


def kmeans(rows_ND: Tensor, clusters: int, rounds: int = 10) -> tuple[Tensor, Tensor]:
    """Centroids [K, D] and how many rows each has [K], by Lloyd's rounds from random rows; empty ones begin anew."""
    centroids = rows_ND[torch.randperm(len(rows_ND), device=rows_ND.device)[:clusters]].clone()
    counts = torch.zeros(clusters, device=rows_ND.device)
    for _ in range(rounds):
        index_N = nearest(rows_ND, centroids)
        counts = torch.bincount(index_N, minlength=clusters).to(rows_ND.dtype)
        sums = torch.zeros_like(centroids).index_add_(0, index_N, rows_ND)
        again = rows_ND[torch.randint(len(rows_ND), (clusters,), device=rows_ND.device)]
        centroids = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], again)
    return centroids, counts
