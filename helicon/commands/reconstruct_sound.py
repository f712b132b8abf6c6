"""Sounds of any length through a codec and back, chunk by chunk, in bounded memory.

Shapes: C channels, S samples.
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from math import log10
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from helicon.cli import CommandError, reason
from helicon.commands.outputs import output_folder
from helicon.formats.audio import audio_info, read_blocks, write_blocks
from helicon.formats.files import write_json
from helicon.formats.printable import print_text, printable
from helicon.formats.sound_plots import spectrogram_pairs
from helicon.formats.spectra import MOST_DB
from helicon.vqvae.audio_codec import AudioCodec, Level

SHOWN_S, PAIRS = 10.0, 6  # seconds of a sound's spectrogram, and sounds that have one


def reconstruct_sounds(codec: AudioCodec, args: Namespace) -> int:
    """Writes a WAV of each file at each level, `spectrograms.png` and a JSON; or one WAV, where -o names one."""
    out = Path(args.out)
    alone = out.suffix.lower() == ".wav"
    if alone and len(args.files) > 1:
        raise CommandError(f"-o {out}: one file for {len(args.files)}; a folder is needed")
    if alone and out.is_dir():
        raise CommandError(f"-o {out}: is a folder")
    if args.level is not None and not 0 <= args.level < len(codec.levels):
        raise CommandError(f"--level {args.level}: this codec has levels 0 (the finest) to {len(codec.levels) - 1}")
    with nullcontext() if alone else output_folder(out):
        return _written(codec, args, out, alone)


def _written(codec: AudioCodec, args: Namespace, out: Path, alone: bool) -> int:
    numbers = [args.level or 0] if alone or args.level is not None else list(range(len(codec.levels)))
    report, pairs, faults = [], [], 0
    for place, name in enumerate(args.files):
        for number in numbers:
            level = codec.level(number)
            target = out if alone else out / f"{place:03d}-{Path(name).stem}-hop{level.hop}.wav"
            try:
                figures = through(level, codec, Path(name), target)
            except (OSError, ValueError) as error:
                faults += 1
                print_text(f"helicon: {name}: {reason(error)}", sys.stderr)
                break
            report.append({"file": name, "written": target.name, "hop": level.hop, **figures})
            told = f"SI-SDR {figures['si_sdr']:.2f} dB, {figures['codes']:,} codes for {figures['seconds']:,.1f} s"
            print_text(f"{name}: hop {level.hop}: {told}", sys.stderr)
            if not alone and len(pairs) < PAIRS:
                pairs.append((f"{Path(name).name}, hop {level.hop}", *_shown(Path(name), target, codec)))
    if not report:
        raise CommandError("none of the sounds could be read")
    if not alone:
        spectrogram_pairs(pairs, out / "spectrograms.png")
        write_json(out / "reconstruct.json", {"model": args.model, "sounds": report})
    looked = "" if alone else f"; look at {out / 'spectrograms.png'}"
    print_text(f"wrote {len(report)} to {out}{looked}", sys.stderr)
    return 1 if faults else 0


def through(level: Level, codec: AudioCodec, source: Path, target: Path) -> dict[str, Any]:
    """Reads, encodes, decodes and writes a sound in blocks: a WAV as long as the sound to the sample; figures."""
    rate, channels = codec.config.rate, codec.config.channels
    own, _, frames = audio_info(source)
    length = Ratio(channels)
    begun = time.monotonic()

    def blocks() -> Iterator[Tensor]:
        bar = tqdm(total=round(frames / own), desc=printable(source.name, 40), unit=" s", leave=False, disable=None)
        with bar:
            for block in read_blocks(source, rate, channels):
                before = torch.from_numpy(np.ascontiguousarray(block.T))
                length.heard(before)
                bar.update(min(round(block.shape[0] / rate), bar.total - bar.n))
                yield before.to(level.scale.device)

    def decoded() -> Iterator[np.ndarray]:
        for made in level.decode_stream(counted(level.encode_stream(blocks()), length.count)):
            yield length.compared(made.cpu()).T.numpy()

    write_blocks(target, decoded(), rate, channels)
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


def _shown(source: Path, target: Path, codec: AudioCodec) -> tuple[np.ndarray, np.ndarray, int]:
    """The beginning of a sound before and after."""
    rate, channels = codec.config.rate, codec.config.channels
    before, after = (next(read_blocks(path, rate, channels, SHOWN_S)) for path in (source, target))
    return before, after, rate
