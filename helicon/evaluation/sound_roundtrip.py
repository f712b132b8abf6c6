"""Round trip of a sound of any length through a codec, chunk by chunk, in bounded memory.

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
from helicon.formats.read_report import ReadReport
from helicon.formats.spectra import MAX_DB
from helicon.vqvae.audio_codec import AudioCodec, AudioCodecLevel


def roundtrip_sound(
    level: AudioCodecLevel, codec: AudioCodec, source: Path, write: Callable[[Iterator[np.ndarray]], None],
    report: ReadReport | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Read, encode and decode a sound in blocks; the result has the same number of samples.

    Args:
        level: `AudioCodecLevel` that encodes and decodes.
        codec: `AudioCodec` of the level, to whose rate and channels the sound is converted.
        source: path of a sound file.
        write: function that is called with the iterator of decoded blocks, NumPy float32 [S, C], S samples of C
            channels.
        report: `ReadReport` that receives counts of what reading dropped or changed.

    Returns:
        dict: `si_sdr` in dB (higher is better), `codes` (their number), `seconds` of sound, and `took`, the seconds
        that the round trip lasted.
    """
    rate, channels = codec.config.rate, codec.config.channels
    file_rate, _, frames = audio_info(source)
    sisdr = StreamingSISDR(channels)
    begun = time.monotonic()

    def blocks() -> Iterator[Tensor]:
        with bar(of=source.name, unit="s", total=round(frames / file_rate)) as progress:
            for block in read_blocks(source, rate, channels, report=report):
                before = torch.from_numpy(np.ascontiguousarray(block.T))
                sisdr.add_original(before)
                progress.update(min(round(block.shape[0] / rate), progress.total - progress.n))
                yield before.to(level.scale.device)

    def decoded() -> Iterator[np.ndarray]:
        for block in level.decode_stream(counted(level.encode_stream(blocks()), sisdr.add_codes)):
            yield sisdr.add_decoded(block.cpu()).T.numpy()

    write(decoded())
    return {
        "si_sdr": sisdr.si_sdr(), "codes": sisdr.codes, "seconds": sisdr.samples / rate,
        "took": round(time.monotonic() - begun, 2),
    }  # fmt: skip


def counted(blocks: Iterator[Tensor], count: Callable[[int], None]) -> Iterator[Tensor]:
    """Pass blocks on, counting their rows.

    Args:
        blocks: tensors [T, ...], T rows, such as codes, in each.
        count: called with T, for each block.

    Yields:
        The same blocks.
    """
    for block in blocks:
        count(len(block))
        yield block


class StreamingSISDR:
    """SI-SDR of two streams of blocks, the decoded one later than the original; only sums and the lag are in memory.

    Equal to `formats.spectra.si_sdr` of the complete sounds, as a mean over the channels.
    """

    def __init__(self, channels: int) -> None:
        self.samples = self.codes = 0
        self._waiting: list[Tensor] = []
        self._sums = torch.zeros(5, channels, dtype=torch.float64)  # of x, y, x^2, y^2, x y
        self._compared = 0

    def add_original(self, before: Tensor) -> None:
        """Add a block of the original, float [C, S], S samples of C channels."""
        self.samples += before.shape[-1]
        self._waiting.append(before)

    def add_codes(self, codes: int) -> None:
        """Add a number of codes to the count in `codes`."""
        self.codes += codes

    def add_decoded(self, after: Tensor) -> Tensor:
        """Compare a decoded block, float [C, S], with the original; return it, cut where the original ends."""
        before = torch.cat(self._waiting, -1)
        after = after[:, : before.shape[-1]]
        x_CS, y_CS = before[:, : after.shape[-1]].double(), after.double()
        self._waiting = [before[:, after.shape[-1] :]]
        self._compared += x_CS.shape[-1]
        self._sums += torch.stack([x_CS, y_CS, x_CS * x_CS, y_CS * y_CS, x_CS * y_CS]).sum(-1)
        return after

    def si_sdr(self) -> float:
        """Return the SI-SDR in dB, at most MAX_DB either way, of what was added, as a mean over the channels.

        arXiv:1811.02508, eq. 3, means removed; silence kept silent has MAX_DB.
        """
        return mean(_decibels(self._compared, *sums) for sums in self._sums.T.tolist())


def _decibels(n: int, x: float, y: float, xx: float, yy: float, xy: float) -> float:
    """Compute SI-SDR from sums over n samples; a signal that is constant but for rounding counts as silent."""
    silent = [square - total * total / n <= 1e-12 * square + 1e-30 for total, square in ((x, xx), (y, yy))]
    if any(silent):
        return MAX_DB if all(silent) else -MAX_DB
    xx, yy, xy = xx - x * x / n, yy - y * y / n, xy - x * y / n
    alike, smallest = xy * xy / (xx * yy), 10 ** (-MAX_DB / 10)
    return 10 * log10(max(alike, smallest) / max(1 - alike, smallest))
