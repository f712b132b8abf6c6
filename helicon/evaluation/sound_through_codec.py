"""Sounds of any length through a codec and back, chunk by chunk, in bounded memory.

Shapes: C channels, S samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from math import log10
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from helicon.formats.audio import audio_info, read_blocks
from helicon.formats.progress import bar
from helicon.formats.spectra import MOST_DB
from helicon.vqvae.audio_codec import AudioCodec, AudioCodecLevel


def through(
    level: AudioCodecLevel, codec: AudioCodec, source: Path, write: Callable[[Iterator[np.ndarray]], None]
) -> dict[str, Any]:  # fmt: skip
    """Reads, encodes and decodes a sound in blocks, as long as it is to the sample.

    Args:
        level: of the codec.
        codec: whose rate and channels the sound gets.
        source: its file.
        write: takes the blocks [S, C] that come out, each as it is made.

    Returns:
        `si_sdr` in dB, `codes`, `seconds`, and seconds that it `took`.
    """
    rate, channels = codec.config.rate, codec.config.channels
    own, _, frames = audio_info(source)
    length = Ratio(channels)
    begun = time.monotonic()

    def blocks() -> Iterator[Tensor]:
        with bar(of=source.name, unit="s", total=round(frames / own)) as told:
            for block in read_blocks(source, rate, channels):
                before = torch.from_numpy(np.ascontiguousarray(block.T))
                length.heard(before)
                told.update(min(round(block.shape[0] / rate), told.total - told.n))
                yield before.to(level.scale.device)

    def decoded() -> Iterator[np.ndarray]:
        for made in level.decode_stream(counted(level.encode_stream(blocks()), length.count)):
            yield length.compared(made.cpu()).T.numpy()

    write(decoded())
    return {
        "si_sdr": length.si_sdr(), "codes": length.codes, "seconds": length.samples / rate,
        "took": round(time.monotonic() - begun, 2),
    }  # fmt: skip


def counted(blocks: Iterator[Tensor], count: Callable[[int], None]) -> Iterator[Tensor]:
    """The same, each block's length told."""
    for block in blocks:
        count(len(block))
        yield block


class Ratio:
    """SI-SDR of two streams that come a block at a time, the second after the first: sums, nothing else, are kept.

    It is `formats.spectra.si_sdr` of the whole, the mean of the channels.
    """

    def __init__(self, channels: int) -> None:
        self.samples = self.codes = 0
        self._waiting: list[Tensor] = []
        self._sums = torch.zeros(5, channels, dtype=torch.float64)  # of x, y, x^2, y^2, x y
        self._compared = 0

    def heard(self, before: Tensor) -> None:
        """A block [C, S] of the sound."""
        self.samples += before.shape[-1]
        self._waiting.append(before)

    def count(self, codes: int) -> None:
        """So many codes more."""
        self.codes += codes

    def compared(self, made: Tensor) -> Tensor:
        """A block of what was made of it, cut where the sound ends."""
        before = torch.cat(self._waiting, -1)
        made = made[:, : before.shape[-1]]
        x, y = before[:, : made.shape[-1]].double(), made.double()
        self._waiting = [before[:, made.shape[-1] :]]
        self._compared += x.shape[-1]
        self._sums += torch.stack([x, y, x * x, y * y, x * y]).sum(-1)
        return made

    def si_sdr(self) -> float:
        """In dB (arXiv:1811.02508, eq. 3, means removed), within MOST_DB, which is that of silence that stayed so."""
        return mean(_decibels(self._compared, *sums) for sums in self._sums.T.tolist())


def _decibels(n: int, x: float, y: float, xx: float, yy: float, xy: float) -> float:
    """SI-SDR by sums over n samples; what is constant but for rounding is silent."""
    silent = [square - total * total / n <= 1e-12 * square + 1e-30 for total, square in ((x, xx), (y, yy))]
    if any(silent):
        return MOST_DB if all(silent) else -MOST_DB
    xx, yy, xy = xx - x * x / n, yy - y * y / n, xy - x * y / n
    alike, smallest = xy * xy / (xx * yy), 10 ** (-MOST_DB / 10)
    return 10 * log10(max(alike, smallest) / max(1 - alike, smallest))
