"""Processing of decoded samples, block by block: finite values, mixing, resampling.

Every function maps blocks to blocks, so that memory is bounded for sounds of any length.

Shapes: S samples, C channels of the file, M channels requested.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
import soxr

from helicon.formats.read_report import ReadReport

NOT_FINITE = "samples not finite (made 0)"
CLIPPED = "samples beyond full scale (clipped)"
QUIET = "sounds nowhere above -40 dB of full scale (kept so)"

_HALF = 0.5**0.5  # gain of -3 dB
# ITU-R BS.775, table 2, turned down so that nothing clips. Front left, right, centre; bass, left out; rear left, right
_SURROUND = np.array([[1, 0], [0, 1], [_HALF, _HALF], [0, 0], [_HALF, 0], [0, _HALF]], np.float32) / (1 + 2 * _HALF)
_OGG_ORDER = [0, 2, 1, 4, 5, 3]  # Vorbis and Opus: front left, centre, front right, two of the rear, bass


def clean(x_SC: np.ndarray, report: ReadReport) -> np.ndarray:
    """Replace samples that are not finite by 0 and clip the others to [-1, 1].

    Args:
        x_SC: NumPy float32 [S, C], S samples of C channels.
        report: `ReadReport` that counts replaced and clipped samples.

    Returns:
        NumPy float32 [S, C] in [-1, 1].
    """
    if x_SC.max(initial=0) <= 1 and x_SC.min(initial=0) >= -1:  # not so if anything is NaN
        return x_SC
    finite_SC = np.isfinite(x_SC)
    x_SC = np.where(finite_SC, x_SC, np.float32(0))
    report.add(NOT_FINITE, int((~finite_SC).sum()))
    report.add(CLIPPED, int((np.abs(x_SC) > 1).sum()))
    return x_SC.clip(-1, 1)


def mix(x_SC: np.ndarray, channels: int, ogg: bool = False) -> np.ndarray:
    """Mix channels down, or double mono.

    To one channel: the mean of all. To two: mono is doubled, 5.1 is mixed by ITU-R BS.775 without the bass channel, of
    other layouts even channels go left and odd ones right.

    Args:
        x_SC: NumPy float32 [S, C], S samples of C channels.
        channels: number M of channels after, 1 or 2, or C for no change.
        ogg: True if the six channels of 5.1 are in the order of OGG files.

    Returns:
        NumPy float32 [S, M].
    """
    channels_in = x_SC.shape[1]
    return x_SC if channels == channels_in else x_SC @ _weights(channels_in, channels, ogg)


@cache
def _weights(channels_in: int, channels: int, ogg: bool) -> np.ndarray:
    """Return the mixing matrix, float32 [C, M]."""
    if channels == 1 or channels_in == 1:
        return np.full((channels_in, channels), 1 / channels_in, np.float32)
    if channels_in == 6:
        return _SURROUND[_OGG_ORDER] if ogg else _SURROUND
    side_CM = np.arange(channels_in)[:, None] % 2 == np.arange(2)
    return (side_CM / side_CM.sum(axis=0)).astype(np.float32)


def length_at(frames: int, source_rate: int, rate: int) -> int:
    """Return the number of samples after resampling: frames * rate / source_rate, halves rounded up; at least 1.

    Args:
        frames: samples per channel at `source_rate`.
        source_rate: samples a second before.
        rate: samples a second after.

    Returns:
        Samples per channel at `rate`.
    """
    return max(1, (2 * frames * rate + source_rate) // (2 * source_rate))


def resampled(blocks: Iterator[np.ndarray], channels: int, source_rate: int, rate: int) -> Iterator[np.ndarray]:
    """Resample consecutive blocks by soxr's HQ filter; the result does not depend on the block size.

    Args:
        blocks: NumPy float32 [S, M] each, S samples of M channels, finite and in [-1, 1] (see `clean`).
        channels: number M of channels.
        source_rate: samples a second of the blocks; if it is `rate`, the blocks are yielded unchanged.
        rate: samples a second to resample to.

    Yields:
        NumPy float32 [S, M] blocks in [-1, 1], `length_at` samples per channel in all.
    """
    if source_rate == rate:
        yield from blocks
        return
    stream = soxr.ResampleStream(source_rate, rate, channels, dtype="float32", quality="HQ")
    read = written = 0
    for block_SM, last in _with_last(blocks, channels):
        resampled_SM = stream.resample_chunk(block_SM, last).clip(-1, 1)  # it overshoots where the sound leaps
        read, written = read + len(block_SM), written + len(resampled_SM)
        if not last:
            yield resampled_SM
            continue
        over = written - length_at(read, source_rate, rate)
        yield resampled_SM[: len(resampled_SM) - over] if over >= 0 else np.pad(resampled_SM, ((0, -over), (0, 0)))


def _with_last(blocks: Iterator[np.ndarray], channels: int) -> Iterator[tuple[np.ndarray, bool]]:
    """Yield each block with True for the last one; a single empty block where there are none."""
    held_SM = next(blocks, np.empty((0, channels), np.float32))
    for block_SM in blocks:
        yield held_SM, False
        held_SM = block_SM
    yield held_SM, True


def regrouped(blocks: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Regroup consecutive blocks into blocks of one size.

    Args:
        blocks: arrays [S, M], S samples of M channels, of any size.
        size: samples per channel of the new blocks.

    Yields:
        Arrays [size, M]; the last may be shorter, none is empty.
    """
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
