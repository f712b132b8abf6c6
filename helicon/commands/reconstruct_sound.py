"""Sounds of any length through a codec and back, chunk by chunk, in bounded memory.

Shapes: C channels, S samples.
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from math import log10
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from helicon.cli import CommandError
from helicon.formats.audio import audio_info, read_blocks, write_blocks
from helicon.formats.files import write_json
from helicon.formats.sound_plots import spectrogram_pairs
from helicon.vqvae.audio_codec import AudioCodec, Level

SHOWN_S, PAIRS = 10.0, 6  # seconds of a sound's spectrogram, and sounds that have one


def reconstruct_sounds(codec: AudioCodec, args: Namespace) -> int:
    """Writes a WAV of each file at each level, `spectrograms.png` and a JSON; or one WAV, where -o names one."""
    out = Path(args.out)
    alone = out.suffix.lower() == ".wav"
    if alone and len(args.files) > 1:
        raise CommandError(f"-o {out}: one file for {len(args.files)}; a folder is needed")
    if out.is_dir() if alone else out.exists() and not out.is_dir():
        raise CommandError(f"-o {out}: is a {'folder' if alone else 'file, a folder is needed'}")
    if args.level is not None and not 0 <= args.level < len(codec.levels):
        raise CommandError(f"--level {args.level}: this codec has levels 0 (the finest) to {len(codec.levels) - 1}")
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
                reason = error.strerror if isinstance(error, OSError) and error.strerror else error
                print(f"helicon: {name}: {reason}", file=sys.stderr)
                break
            report.append({"file": name, "written": target.name, "hop": level.hop, **figures})
            told = f"SI-SDR {figures['si_sdr']:.2f} dB, {figures['codes']:,} codes for {figures['seconds']:,.1f} s"
            print(f"{name}: hop {level.hop}: {told}", file=sys.stderr)
            if len(pairs) < PAIRS:
                pairs.append((f"{Path(name).name}, hop {level.hop}", *_shown(Path(name), target, codec)))
    if not report:
        raise CommandError("none of the sounds could be read")
    if not alone:
        spectrogram_pairs(pairs, out / "spectrograms.png")
        write_json(out / "reconstruct.json", {"model": args.model, "sounds": report})
    looked = "" if alone else f"; look at {out / 'spectrograms.png'}"
    print(f"wrote {len(report)} to {out}{looked}", file=sys.stderr)
    return 1 if faults else 0


def through(level: Level, codec: AudioCodec, source: Path, target: Path) -> dict[str, Any]:
    """Reads, encodes, decodes and writes a sound in blocks: a WAV as long as the sound to the sample; figures."""
    rate, channels = codec.shape.rate, codec.shape.channels
    own, _, frames = audio_info(source)
    length = Ratio()
    begun = time.monotonic()

    def blocks() -> Iterator[Tensor]:
        bar = tqdm(total=round(frames / own), desc=source.name, unit=" s", leave=False, disable=None)
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
    """SI-SDR of two streams that come a block at a time, the second after the first: sums, nothing else, are kept."""

    def __init__(self) -> None:
        self.samples = self.codes = 0
        self._waiting: list[Tensor] = []
        self._sums = torch.zeros(6, dtype=torch.float64)  # of 1, x, y, x^2, y^2, x y

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
        count = x.new_tensor(x.numel())
        self._sums += torch.stack([count, x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()])
        return made

    def si_sdr(self) -> float:
        """In dB, between -99 and 99 (arXiv:1811.02508, eq. 3, means removed); 99 for silence that stayed silent."""
        n, x, y, xx, yy, xy = self._sums.tolist()
        n = max(n, 1)
        xx, yy, xy = xx - x * x / n, yy - y * y / n, xy - x * y / n
        signal = xy * xy / xx if xx > 0 else 0.0
        noise = max(yy - signal, 0.0)
        if noise <= 1e-12 * max(signal, 1e-12):
            return 99.0
        return max(-99.0, 10 * log10(max(signal / noise, 1e-10)))


def _shown(source: Path, target: Path, codec: AudioCodec) -> tuple[np.ndarray, np.ndarray, int]:
    """The beginning of a sound before and after."""
    rate, channels = codec.shape.rate, codec.shape.channels
    before, after = (next(read_blocks(path, rate, channels, SHOWN_S)) for path in (source, target))
    return before, after, rate
