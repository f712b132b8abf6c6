"""Samples as they come from a file, a block at a time, made what was asked for: finite, mixed, at another rate.

Everything here takes blocks and gives blocks, so that memory is bounded however long a sound is.

Shapes: S samples, C channels, M channels that are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import soxr

from helicon.formats.score import ReadReport

NOT_FINITE = "samples not finite (made 0)"
CLIPPED = "samples beyond full scale (clipped)"
MIXED = "channels mixed"

_HALF = 0.5**0.5
# ITU-R BS.775, table 2, turned down so that nothing clips. Front left, right, centre; bass, left out; rear left, right
_SURROUND = np.array([[1, 0], [0, 1], [_HALF, _HALF], [0, 0], [_HALF, 0], [0, _HALF]], np.float32) / (1 + 2 * _HALF)
_OGG_ORDER = [0, 2, 1, 4, 5, 3]  # Vorbis and Opus: front left, centre, front right, two of the rear, bass


def clean(x_SC: np.ndarray, report: ReadReport) -> np.ndarray:
    """float32 [S, C] in [-1, 1]: what is not finite is 0, what is beyond is clipped; both are counted."""
    if x_SC.max(initial=0) <= 1 and x_SC.min(initial=0) >= -1:  # not so if anything is NaN
        return x_SC
    finite_SC = np.isfinite(x_SC)
    x_SC = np.where(finite_SC, x_SC, np.float32(0))
    report.add(NOT_FINITE, int((~finite_SC).sum()))
    report.add(CLIPPED, int((np.abs(x_SC) > 1).sum()))
    return x_SC.clip(-1, 1)


def mix(x_SC: np.ndarray, channels: int, ogg: bool = False) -> np.ndarray:
    """float32 [S, M], M = `channels`: 1, the mean of all; 2, left and right; as many as there are, the same.

    To two, mono is doubled and 5.1 mixed down, its bass left out; of others the even ones are left, the odd ones right.
    ogg: the order of 5.1 is that of OGG files, not that of the others.
    """
    given = x_SC.shape[1]
    return x_SC if channels == given else x_SC @ _weights(given, channels, ogg)


@cache
def _weights(given: int, channels: int, ogg: bool) -> np.ndarray:
    """float32 [C, M]: how much of each channel there is in each that is asked for."""
    if channels == 1 or given == 1:
        return np.full((given, channels), 1 / given, np.float32)
    if given == 6:
        return _SURROUND[_OGG_ORDER] if ogg else _SURROUND
    side_CM = np.arange(given)[:, None] % 2 == np.arange(2)
    return (side_CM / side_CM.sum(axis=0)).astype(np.float32)


def length_at(frames: int, own: int, rate: int) -> int:
    """Samples at `rate` of so many at `own`: frames * rate / own, rounded, halves up; at least 1."""
    return max(1, (2 * frames * rate + own) // (2 * own))


def resampled(blocks: Iterator[np.ndarray], channels: int, own: int, rate: int) -> Iterator[np.ndarray]:
    """Blocks [S, M] at another rate, `length_at` samples in all: soxr's high quality, the same however they are cut."""
    if own == rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(own, rate, channels, dtype="float32", quality="HQ")
    heard = given = 0
    for block_SM, last in _with_last(blocks, channels):
        made_SM = stream.resample_chunk(block_SM, last).clip(-1, 1)  # it overshoots where the sound leaps
        heard, given = heard + len(block_SM), given + len(made_SM)
        if not last:
            yield made_SM
            continue
        over = given - length_at(heard, own, rate)
        yield made_SM[: len(made_SM) - over] if over >= 0 else np.pad(made_SM, ((0, -over), (0, 0)))


def _with_last(blocks: Iterator[np.ndarray], channels: int) -> Iterator[tuple[np.ndarray, bool]]:
    """The same, and whether each is the last; an empty one where there are none."""
    held_SM = next(blocks, np.empty((0, channels), np.float32))
    for block_SM in blocks:
        yield held_SM, False
        held_SM = block_SM
    yield held_SM, True


def regrouped(blocks: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same samples in blocks [S, M] of `size`; the last may be shorter, none is empty."""
    held: list[np.ndarray] = []
    n = 0
    for block_SM in blocks:
        while n + len(block_SM) >= size:
            yield np.concatenate([*held, block_SM[: size - n]])
            block_SM = block_SM[size - n :]
            held, n = [], 0
        held.append(block_SM)
        n += len(block_SM)
    if n:
        yield np.concatenate(held)
