"""Colour clusters: k-means on colours, and the exact nearest centroid of any colour.

Colours are uint8 RGB; centroids lie in [-1, 1], where a channel's value v is v / 127.5 - 1 (iGPT, Chen et al. 2020).

Shapes: N colours, K centroids, M cells (cubes of 8 x 8 x 8 colours), P pairs of a cell and a centroid.
"""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from helicon.vqvae.kmeans import Clusters, kmeans, plus_plus

LEVELS = np.arange(256) / 127.5 - 1  # the number in [-1, 1] of each channel value
UNKNOWN = 65535  # an entry of a table that is not filled yet
_CELL = 8  # channel values along an edge of a cell
_CELL_BITS = 0xF8F8F8  # bits of a colour's code that the colours of a cell share
_HALF = (_CELL - 1) / 2  # distance from a cell's middle to its outermost values
_CHUNK = 1 << 15  # colours, or distances, that are processed at a time: few enough for the cache
_RUNS, _PART = 8, 1 << 14  # initializations of k-means, and colours of the sample that they are run on
# Relative decrease of the cost at which Lloyd's rounds end, on the sample and on all colours: after _FINE, all further
# rounds together would gain some 0.1 %
_ROUGH, _FINE = 1e-3, 3e-5


def pack(colours_N3: np.ndarray) -> np.ndarray:
    """Pack N colours, NumPy uint8 [N, 3], to codes int64 [N]: red * 65536 + green * 256 + blue."""
    codes_N = colours_N3[:, 0].astype(np.int64)
    for channel in (1, 2):
        codes_N <<= 8
        codes_N |= colours_N3[:, channel]
    return codes_N


def unpack(codes_N: np.ndarray) -> np.ndarray:
    """Unpack N codes, NumPy int64 [N], to colours uint8 [N, 3]: the inverse of `pack`."""
    return np.stack([codes_N >> 16, codes_N >> 8 & 255, codes_N & 255], axis=1).astype(np.uint8)


class NearestCentroid:
    """Exact search for the centroid at the least squared distance, in float64; of equally near ones the first.

    In a cell only few centroids can be nearest. Let m be its middle, a the centroid nearest to m, h half its edge: over
    the cell, |x - b|^2 - |x - a|^2 is linear in x and at least |m - b|^2 - |m - a|^2 - 2 h |b - a|_1. If that is more
    than 0, the plane half-way between a and b misses the cell, and b is nearest to none of its colours.
    """

    def __init__(self, centroids_K3: np.ndarray) -> None:
        self._centroids_K3 = np.asarray(centroids_K3, np.float64)
        channels = self._centroids_K3.T
        self._squares = [((LEVELS[:, None] - c_K) ** 2).ravel() for c_K in channels]  # [256 * K] each
        # In float32, as more candidates than needed do no harm; it rounds away less than 5e-6
        self._norms_K = (self._centroids_K3**2).sum(1).astype(np.float32)
        self._twice_3K = (-2 * channels).astype(np.float32)
        self._reach_KK = np.full((len(centroids_K3),) * 2, 2e-5, np.float32)
        for c_K in channels.astype(np.float32):
            self._reach_KK += np.float32(2 * _HALF / 127.5) * np.abs(c_K[:, None] - c_K)

    def __call__(self, colours_N3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearest centroid int64 [N] and its squared distance [N] of colours uint8 [N, 3].

        Fastest when colours of a cell stand beside each other.
        """
        ids_N, least_N = np.empty(len(colours_N3), np.int64), np.empty(len(colours_N3))
        for i in range(0, len(ids_N), _CHUNK):
            ids_N[i : i + _CHUNK], least_N[i : i + _CHUNK] = self._nearest(colours_N3[i : i + _CHUNK])
        return ids_N, least_N

    def _nearest(self, colours_N3: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        cells_M, cell_N = np.unique(pack(colours_N3) & _CELL_BITS, return_inverse=True)
        counts_M, candidates_P = self._candidates(cells_M)
        # Colours with most candidates first, so that those with an i-th one are the first few.
        order_N = np.argsort(-counts_M[cell_N], kind="stable")
        cell_N = cell_N[order_N]
        ranks_N = -counts_M[cell_N]
        rows_3N = colours_N3[order_N].T.astype(np.int64) * len(self._centroids_K3)
        first_N = (np.cumsum(counts_M) - counts_M)[cell_N]
        best_N = candidates_P[first_N]
        least_N = self._distances(rows_3N, best_N)
        for i in range(1, counts_M.max()):
            n = np.searchsorted(ranks_N, -i)
            other_n = candidates_P[first_N[:n] + i]
            distance_n = self._distances(rows_3N[:, :n], other_n)
            nearer_n = distance_n < least_N[:n]
            np.copyto(least_N[:n], distance_n, where=nearer_n)
            np.copyto(best_N[:n], other_n, where=nearer_n)
        place_N = np.empty_like(order_N)
        place_N[order_N] = np.arange(len(order_N))
        return best_N[place_N], least_N[place_N]

    def _distances(self, rows_3N: np.ndarray, ids_N: np.ndarray) -> np.ndarray:
        red_N, green_N, blue_N = (squares[row_N + ids_N] for squares, row_N in zip(self._squares, rows_3N))
        return red_N + green_N + blue_N

    def _candidates(self, cells_M: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the number of each cell's candidate centroids, int16 [M], and the candidates by cell, int64 [P]."""
        middles_M3 = ((unpack(cells_M) + _HALF) / 127.5 - 1).astype(np.float32)
        k = len(self._centroids_K3)
        counts, candidates, step = [], [], max(1, _CHUNK // k)
        for middles_m3 in (middles_M3[i : i + step] for i in range(0, len(cells_M), step)):
            # |m - c|^2 without |m|^2, which all centroids share
            away_mK = middles_m3 @ self._twice_3K
            away_mK += self._norms_K
            nearest_m = away_mK.argmin(1)
            away_mK -= away_mK[np.arange(len(nearest_m)), nearest_m, None]
            keep_mK = away_mK <= self._reach_KK[nearest_m]
            counts.append(keep_mK.sum(1, dtype=np.int16))
            candidates.append(np.flatnonzero(keep_mK) % k)  # np.nonzero takes seven times as long
        return np.concatenate(counts), np.concatenate(candidates)


class NearestTable:
    """Table of the nearest centroid of all 256^3 colours (33.5 MB), filled cell by cell on first use."""

    def __init__(self, centroids_K3: np.ndarray) -> None:
        self._nearest = NearestCentroid(centroids_K3)
        self._table = np.full(1 << 24, UNKNOWN, np.uint16)

    def __call__(self, colours_N3: np.ndarray) -> np.ndarray:
        """Return the nearest centroid int64 [N] of colours uint8 [N, 3]."""
        ids_N = np.empty(len(colours_N3), np.int64)
        for i in range(0, len(ids_N), _CHUNK):
            codes_n = pack(colours_N3[i : i + _CHUNK])
            cached_n = self._table.take(codes_n, mode="clip")  # "clip" saves the check of every index
            if cached_n.max() == UNKNOWN:
                self._fill(np.unique(codes_n[cached_n == UNKNOWN] & _CELL_BITS))
                cached_n = self._table.take(codes_n, mode="clip")
            ids_N[i : i + _CHUNK] = cached_n
        return ids_N

    def _fill(self, cells_M: np.ndarray) -> None:
        inside = pack(rearrange(np.indices((_CELL,) * 3), "channel r g b -> (r g b) channel"))
        step = _CHUNK // len(inside)
        for i in range(0, len(cells_M), step):
            codes = (cells_M[i : i + step, None] | inside).ravel()
            self._table[codes] = self._nearest(unpack(codes))[0]


def fit_colours(colours_N3: np.ndarray, weights_N: np.ndarray, k: int, seed: int = 0) -> np.ndarray:
    """Fit centroids to colours by k-means: several runs on a sample, then Lloyd's rounds on all from the best.

    Args:
        colours_N3: N distinct colours, NumPy uint8 [N, 3], N > k.
        weights_N: number of pixels of each colour, [N].
        k: number of centroids.
        seed: of the initializations.

    Returns:
        Centroids NumPy float64 [k, 3] in [-1, 1].
    """
    generator = torch.Generator().manual_seed(seed)
    by_cell = np.argsort(pack(colours_N3) & _CELL_BITS, kind="stable")
    colours_N3, weights = colours_N3[by_cell], torch.from_numpy(weights_N[by_cell].astype(np.float64))
    part = torch.randperm(len(by_cell), generator=generator)[: max(_PART, 16 * k)].sort().values
    colours_n3, weights_n = colours_N3[part.numpy()], weights[part]
    rows_n3 = _rows(colours_n3).float()
    starts = (plus_plus(rows_n3, k, weights_n.float(), generator).double() for _ in range(_RUNS))
    best = min((lloyd(colours_n3, start, weights_n, _ROUGH) for start in starts), key=lambda run: run.cost)
    return lloyd(colours_N3, best.centroids, weights, _FINE).centroids.numpy()


def lloyd(colours_N3: np.ndarray, start_K3: Tensor, weights_N: Tensor, least_gain: float = _FINE) -> Clusters:
    """Run k-means on colours, with `NearestCentroid` as the search.

    Args:
        colours_N3: N distinct colours, NumPy uint8 [N, 3].
        start_K3: K initial centroids, float64 tensor [K, 3] in [-1, 1].
        weights_N: weight of each colour, float64 tensor [N].
        least_gain: relative decrease of the cost at or below which the rounds end.

    Returns:
        `Clusters`: centroids [K, 3], their mass [K] and the cost.
    """

    def assign(centroids_K3: Tensor) -> Tensor:
        return torch.from_numpy(NearestCentroid(centroids_K3.numpy())(colours_N3)[0])

    return kmeans(_rows(colours_N3), start_K3, weights_N, least_gain=least_gain, assign=assign)


def _rows(colours_N3: np.ndarray) -> Tensor:
    """Convert colours uint8 [N, 3] to float64 in [-1, 1]."""
    return torch.from_numpy(LEVELS[colours_N3])
