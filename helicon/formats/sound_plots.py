"""Plots of sound: waveforms and mel spectrograms.

Shapes: S samples, C channels, M mel bands, T columns of a picture.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from einops import reduce

from helicon.formats.plots import INK, LINES, new_figure, save, tidy
from helicon.formats.spectra import BANDS, FLOOR, hz_to_mel, mel_filters, mel_window

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

COLUMNS = 480  # of a spectrogram
MOMENTS = 4  # windows that a column is the mean of: of hours of sound no more is looked at
WIDEST = 4096  # samples of a window
RANGE_DB = 80.0  # from the brightest colour to the darkest
# On the axis of frequencies
_TICKS_HZ = (100, 500, 1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000, 256000)
_LEAST_S = 1e-3  # width of the picture of a single sample


def spectrogram_pairs(
    pairs: Sequence[tuple[str, np.ndarray, np.ndarray, int]], path: str | os.PathLike[str]
) -> None:  # fmt: skip
    """Write pairs of mel spectrograms as a PNG, 1000 pixels wide, all on one colour scale.

    A row for each pair, before left and after right.

    Args:
        pairs: (title, before, after, samples a second), sounds as NumPy float [S, C], S samples of C channels.
        path: path of the PNG.

    Raises:
        ValueError: there is no pair, or a sound has no sample.
    """
    if not pairs:
        raise ValueError("no sounds for a picture: 1 pair or more is accepted")
    pictures = [[_mel_db(samples, rate) for samples in (before, after)] for _, before, after, rate in pairs]
    loudest = _loudest([picture for row in pictures for picture in row])
    figure = new_figure(0.5 + 1.9 * len(pairs))
    grid = figure.subplots(len(pairs), 2, squeeze=False)
    drawn = None
    for row, row_of_axes, (title, before, after, rate) in zip(pictures, grid, pairs):
        longest_s = max(len(before), len(after)) / rate
        for axes, picture, samples, when in zip(row_of_axes, row, (before, after), ("before", "after")):
            drawn = _draw(axes, picture, len(samples) / rate, rate, loudest)
            axes.set_xlim(0, max(longest_s, _LEAST_S))
            # Names of files may hold what is mathematics to matplotlib
            axes.set_title(f"{title}, {when}", loc="left", color=INK, fontsize=10, parse_math=False)
    for axes in grid[-1]:
        axes.set_xlabel("seconds")
    assert drawn is not None
    figure.colorbar(drawn, ax=grid, label="dB", aspect=14 * len(pairs))
    save(figure, path)


def sound_picture(samples: np.ndarray, rate: int, path: str | os.PathLike[str]) -> None:
    """Write a sound's waveform over its mel spectrogram as a PNG, 1000 pixels wide.

    Args:
        samples: NumPy float [S, C], S samples of C channels.
        rate: samples a second.
        path: path of the PNG.

    Raises:
        ValueError: there is no sample.
    """
    picture = _mel_db(samples, rate)
    figure = new_figure(3.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.6])
    low_T, high_T = _extremes(samples)
    seconds = max(len(samples) / rate, _LEAST_S)
    edges_s = np.linspace(0, seconds, len(low_T) + 1)
    tidy(above)
    # An edge, because silence has no height
    above.stairs(high_T, edges_s, baseline=low_T, fill=True, facecolor=LINES[0], edgecolor=LINES[0], linewidth=0.8)
    peak = max(float(np.abs(high_T).max()), float(np.abs(low_T).max()), 0.01)
    above.set_ylim(-1.05 * peak, 1.05 * peak)
    _draw(below, picture, len(samples) / rate, rate, _loudest([picture]))
    below.set_xlim(0, seconds)
    below.set_xlabel("seconds")
    save(figure, path)


def _extremes(samples_SC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return minimum and maximum over channels in each of at most 2 * COLUMNS equal chunks of the sound.

    The first sample of the next chunk counts too, so that few samples are drawn as one line.
    """
    n = min(len(samples_SC), 2 * COLUMNS)
    starts = np.arange(n) * len(samples_SC) // n
    next_TC = samples_SC[np.append(starts[1:], -1)]
    low_TC, high_TC = (which(which.reduceat(samples_SC, starts), next_TC) for which in (np.minimum, np.maximum))
    return low_TC.min(axis=1), high_TC.max(axis=1)


def _mel_db(samples_SC: np.ndarray, rate: int) -> np.ndarray:
    """Return mel magnitudes in dB, float32 [M, T], of mixed channels; the work does not grow with the duration."""
    if not len(samples_SC):
        raise ValueError("a sound of no samples: 1 or more are accepted")
    width = min(mel_window(rate), WIDEST)
    windows = np.zeros((COLUMNS * MOMENTS, width), np.float32)
    for i, window in enumerate(windows):
        start = (2 * i + 1) * len(samples_SC) // (2 * len(windows)) - width // 2
        heard = samples_SC[max(0, start) : start + width].mean(axis=1)
        window[max(0, -start) :][: len(heard)] = heard
    magnitudes = torch.fft.rfft(torch.from_numpy(windows) * torch.hann_window(width)).abs()
    bands = min(BANDS, width // 4)
    power = (magnitudes @ mel_filters(rate, width, bands).T).square()
    power_MT = reduce(power, "(column moment) band -> band column", "mean", moment=MOMENTS)
    return 10 * power_MT.clamp(min=FLOOR**2).log10().numpy()


def _loudest(pictures: list[np.ndarray]) -> float:
    """Return the dB of the brightest colour; silence stays dark."""
    return max(20 * np.log10(FLOOR) + RANGE_DB, *(float(picture.max()) for picture in pictures))


def _draw(axes: Axes, picture_MT: np.ndarray, seconds: float, rate: int, loudest: float) -> AxesImage:
    """Draw a spectrogram, the highest band at the top; colours from `loudest` dB down."""
    bands = len(picture_MT)
    image = axes.imshow(
        picture_MT, origin="lower", aspect="auto", cmap="magma", interpolation="nearest",
        extent=(0, max(seconds, _LEAST_S), 0, bands), vmin=loudest - RANGE_DB, vmax=loudest,
    )  # fmt: skip
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=INK, length=2, labelsize=9)
    axes.xaxis.label.set_color(INK)
    ticks = [hz for hz in _TICKS_HZ if hz < rate / 2]
    # The middle of band i, counted from 0, is at i + 1 of bands + 1 even steps in mel
    mel, top = (hz_to_mel(torch.tensor(hz, dtype=torch.float64)) for hz in (ticks, rate / 2))
    axes.set_yticks((mel / top * (bands + 1) - 0.5).tolist(), [f"{hz:,} Hz" for hz in ticks])
    axes.set_ylim(0, bands)
    return image
