"""Mu-law tokenizer of sound: 256 levels, as in WaveNet (arXiv:1609.03499) and Sparse Transformers (arXiv:1904.10509).

Shapes: S samples, C channels, N = S * C interleaved values, B bins of samples, L levels but the lowest.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from helicon.formats.audio import Sound
from helicon.tokenizers.base import check_ids
from helicon.tokenizers.samples import SampleTokenizer, sound_of

LEVELS = 256  # of 8 bits
MU = LEVELS - 1  # section 2.2, arXiv:1609.03499
_CHUNK = 1 << 14  # samples that are processed at a time: few enough for the cache
_BINS = 1 << 14  # of each sign: so narrow that at most one level begins in each


class MulawTokenizer(SampleTokenizer):
    """Tokenizer with one token for each sample, channels interleaved; levels are denser near silence."""

    values = range(LEVELS)

    def encode(self, media: Sound) -> np.ndarray:
        """Encode a `Sound` of S samples and C channels to local ids NumPy int64 [S * C], clipped to -1 .. 1.

        Channels are interleaved. ValueError for another rate or number of channels.
        """
        samples_N = self._samples(media)
        levels_N = np.empty(len(samples_N), np.int64)
        for i in range(0, len(samples_N), _CHUNK):
            levels_N[i : i + _CHUNK] = nearest_levels(samples_N[i : i + _CHUNK])
        return levels_N

    def decode(self, ids: np.ndarray) -> Sound:
        """Decode any local ids NumPy int64 [T] to a `Sound`; ValueError for ids outside the block."""
        return sound_of(samples_of_levels().take(check_ids(ids, LEVELS)), self.sample_rate, self.channels)


def level_of(samples: np.ndarray) -> np.ndarray:
    """Quantize samples, floats of any shape, to the nearest levels, int64 of that shape in 0 .. 255.

    By the definition: the oracle of `nearest_levels`. Samples outside -1 .. 1 are clipped.
    """
    return np.rint((compressed(samples.astype(np.float64).clip(-1, 1)) + 1) / 2 * MU).astype(np.int64)


def nearest_levels(samples_N: np.ndarray) -> np.ndarray:
    """Quantize N samples, NumPy float32 [N], to levels uint8 [N] like `level_of`, but faster.

    Of a bin of samples the level is looked up: it is that, or the next one.
    """
    first_B, next_B = _bins()
    bins_N = (samples_N * np.float32(_BINS)).clip(-_BINS, _BINS).astype(np.int64)  # towards 0
    bins_N += _BINS
    levels_N = first_B.take(bins_N)
    levels_N += samples_N >= next_B.take(bins_N)
    return levels_N


@cache
def _bins() -> tuple[np.ndarray, np.ndarray]:
    """Return the level at the start of each bin, uint8 [B], and the sample at which the next level begins, [B]."""
    starts_L, bins_B = _starts(), np.arange(-_BINS, _BINS + 1)
    edges_B = (bins_B - (bins_B <= 0)) / np.float32(_BINS)  # the bin of 0 is twice as wide as the others
    first_B = np.searchsorted(starts_L, edges_B, side="right")
    return first_B.astype(np.uint8), np.append(starts_L, np.float32(np.inf))[first_B]


def _starts() -> np.ndarray:
    """Find the least sample of each of levels 1, 2 ..., float32 [LEVELS - 1], by bisection."""
    levels_L = np.arange(1, LEVELS)
    below_L, above_L = np.full(MU, _rank(np.float32(-1))), np.full(MU, _rank(np.float32(1)))
    while (above_L - below_L > 1).any():
        middle_L = (below_L + above_L) // 2
        inside_L = level_of(_of_rank(middle_L)) >= levels_L
        above_L, below_L = np.where(inside_L, middle_L, above_L), np.where(inside_L, below_L, middle_L)
    return _of_rank(above_L)


def _rank(sample: np.float32) -> int:
    """Rank of a float32 among all, 0 for 0; neighbouring numbers have neighbouring ranks."""
    bits = int(sample.view(np.int32))
    return bits if bits >= 0 else -(bits & 0x7FFFFFFF)


def _of_rank(ranks: np.ndarray) -> np.ndarray:
    """Convert ranks to float32: the inverse of `_rank`."""
    return np.abs(ranks).astype(np.int32).view(np.float32) * np.sign(ranks).astype(np.float32)


@cache
def samples_of_levels() -> np.ndarray:
    """Return the sample in -1 .. 1 of each level, NumPy float32 [256]."""
    return expanded(np.arange(LEVELS) / MU * 2 - 1).astype(np.float32)


def compressed(samples: np.ndarray) -> np.ndarray:
    """Compress samples, floats in -1 .. 1 of any shape, to that range: sign(x) ln(1 + mu |x|) / ln(1 + mu).

    Section 2.2 of arXiv:1609.03499.
    """
    return np.sign(samples) * np.log1p(MU * np.abs(samples)) / np.log1p(MU)


def expanded(levels: np.ndarray) -> np.ndarray:
    """Expand compressed samples, floats in -1 .. 1 of any shape, to samples: the inverse of `compressed`."""
    return np.sign(levels) * np.expm1(np.abs(levels) * np.log1p(MU)) / MU
