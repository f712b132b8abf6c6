"""Sound as samples of 256 levels, as WaveNet (arXiv:1609.03499) and Sparse Transformers (arXiv:1904.10509) model it.

Shapes: S samples, C channels, N = S * C values in a row, B bins of samples, L levels but the lowest.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from helicon.formats.audio import Sound
from helicon.tokenizers.base import check_ids
from helicon.tokenizers.samples import SampleTokenizer, sound_of

LEVELS = 256
MU = LEVELS - 1
_CHUNK = 1 << 14  # samples worked on at once: few enough for the cache
_BINS = 1 << 14  # of each sign, so narrow that a level begins in each once at most


class MulawTokenizer(SampleTokenizer):
    """A token for each sample, the channels of each moment in turn; levels lie closer near silence."""

    values = range(LEVELS)

    def encode(self, media: Sound) -> np.ndarray:
        """int64 [S * C], what is beyond -1 .. 1 as the outermost level; ValueError for another rate or channels."""
        samples_N = self._samples(media)
        levels_N = np.empty(len(samples_N), np.int64)
        for i in range(0, len(samples_N), _CHUNK):
            levels_N[i : i + _CHUNK] = nearest_levels(samples_N[i : i + _CHUNK])
        return levels_N

    def decode(self, ids: np.ndarray) -> Sound:
        """Sound of any ids; ValueError for ids outside the block."""
        return sound_of(samples_of_levels().take(check_ids(ids, LEVELS)), self.sample_rate, self.channels)


def level_of(samples: np.ndarray) -> np.ndarray:
    """int64: the level nearest to each of some samples, by definition."""
    return np.rint((compressed(samples.astype(np.float64).clip(-1, 1)) + 1) / 2 * MU).astype(np.int64)


def nearest_levels(samples_N: np.ndarray) -> np.ndarray:
    """uint8 [N]: `level_of` float32 samples, sooner: the first level of each one's bin, or the next if it has begun."""
    first_B, next_B = _bins()
    bins_N = (samples_N * np.float32(_BINS)).clip(-_BINS, _BINS).astype(np.int64)  # towards 0
    bins_N += _BINS
    levels_N = first_B.take(bins_N)
    levels_N += samples_N >= next_B.take(bins_N)
    return levels_N


@cache
def _bins() -> tuple[np.ndarray, np.ndarray]:
    """Of each bin the level at its start, uint8 [B], and the sample from which on the next level is nearest, [B]."""
    starts_L, bins_B = _starts(), np.arange(-_BINS, _BINS + 1)
    edges_B = (bins_B - (bins_B <= 0)) / np.float32(_BINS)  # that of 0 is twice as wide as the others
    first_B = np.searchsorted(starts_L, edges_B, side="right")
    return first_B.astype(np.uint8), np.append(starts_L, np.float32(np.inf))[first_B]


def _starts() -> np.ndarray:
    """float32 [LEVELS - 1]: the least samples of levels 1, 2 ..., by bisection."""
    levels_L = np.arange(1, LEVELS)
    below_L, above_L = np.full(MU, _rank(np.float32(-1))), np.full(MU, _rank(np.float32(1)))
    while (above_L - below_L > 1).any():
        middle_L = (below_L + above_L) // 2
        inside_L = level_of(_of_rank(middle_L)) >= levels_L
        above_L, below_L = np.where(inside_L, middle_L, above_L), np.where(inside_L, below_L, middle_L)
    return _of_rank(above_L)


def _rank(sample: np.float32) -> int:
    """Which of all float32 it is, counted from 0, negative ones downwards."""
    bits = int(sample.view(np.int32))
    return bits if bits >= 0 else -(bits & 0x7FFFFFFF)


def _of_rank(ranks: np.ndarray) -> np.ndarray:
    """float32, inverse of `_rank`."""
    return np.abs(ranks).astype(np.int32).view(np.float32) * np.sign(ranks).astype(np.float32)


@cache
def samples_of_levels() -> np.ndarray:
    """float32 [LEVELS]: the sample that each level stands for."""
    return expanded(np.arange(LEVELS) / MU * 2 - 1).astype(np.float32)


def compressed(samples: np.ndarray) -> np.ndarray:
    """sign(x) ln(1 + mu |x|) / ln(1 + mu), section 2.2 of arXiv:1609.03499: -1 .. 1 to itself."""
    return np.sign(samples) * np.log1p(MU * np.abs(samples)) / np.log1p(MU)


def expanded(levels: np.ndarray) -> np.ndarray:
    """Inverse of `compressed`."""
    return np.sign(levels) * np.expm1(np.abs(levels) * np.log1p(MU)) / MU
