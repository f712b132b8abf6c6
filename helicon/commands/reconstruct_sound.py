"""`helicon reconstruct` of sounds: write a WAV for each sound and level of the codec, spectrograms and figures."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import numpy as np

from helicon.cli.errors import CommandError, reason
from helicon.commands.outputs import output_folder
from helicon.evaluation.reconstruction import check_level
from helicon.evaluation.sound_roundtrip import roundtrip_sound
from helicon.formats.audio import read_blocks, write_blocks
from helicon.formats.files import write_json
from helicon.formats.printable import print_text, printable
from helicon.formats.quantities import duration, quantity
from helicon.formats.read_report import ReadReport, repaired
from helicon.formats.sound_plots import spectrogram_pairs
from helicon.vqvae.audio_codec import AudioCodec

# Seconds of a sound's spectrogram, and sounds that have one: as many as fit a readable picture
SHOWN_S, PAIRS = 10.0, 6


def reconstruct_sounds(codec: AudioCodec, args: Namespace) -> int:
    """Write a WAV for each file and level, `spectrograms.png` and `reconstruct.json`; or one WAV, where -o names it.

    Args:
        codec: `AudioCodec`.
        args: parsed options: `files`, list of paths (str); `model`, str; `level`, index of a level, 0 the finest,
            or None for all; `out`, path of a folder, or of one `.wav` for one file.

    Returns:
        Exit status: 0, or 1 if a file is unreadable.

    Raises:
        CommandError: no file is readable, or one WAV is named for several.
        ReconstructionError: a level that the codec does not have.
        OutputError: `out` cannot be written to.
    """
    out = Path(args.out)
    alone = out.suffix.lower() == ".wav"
    if alone and len(args.files) > 1:
        raise CommandError(f"-o {out}: one file for {len(args.files)}; a folder is needed")
    if alone and out.is_dir():
        raise CommandError(f"-o {out}: is a folder")
    check_level(codec, args.level)
    with nullcontext() if alone else output_folder(out):
        return _written(codec, args, out, alone)


def _written(codec: AudioCodec, args: Namespace, out: Path, alone: bool) -> int:
    numbers = [args.level or 0] if alone or args.level is not None else list(range(len(codec.levels)))
    report, pairs, faults = [], [], 0
    for place, name in enumerate(args.files):
        for number in numbers:
            level = codec.level(number)
            lost = ReadReport()
            target = out if alone else out / f"{place:03d}-{Path(name).stem}-hop{level.hop}.wav"
            try:
                figures = roundtrip_sound(level, codec, Path(name), partial(write_wav, target, codec), lost)
            except (OSError, ValueError) as error:
                faults += 1
                print_text(f"helicon: {name}: {reason(error)}", sys.stderr)
                break
            if lost.counts and number == numbers[0]:
                print_text(repaired(lost.counts, printable(name)), sys.stderr)
            report.append({"file": name, "written": target.name, "hop": level.hop, **figures})
            quality = f"SI-SDR {figures['si_sdr']:.2f} dB (higher is better), {quantity(figures['codes'], 'code')}"
            print_text(f"{name}: hop {level.hop}: {quality} for {duration(figures['seconds'])}", sys.stderr)
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


def write_wav(target: Path, codec: AudioCodec, blocks: Iterator[np.ndarray]) -> None:
    """Write a sound as WAV at the sample rate of a codec.

    Args:
        target: path of the file.
        codec: `AudioCodec`.
        blocks: NumPy float [S, C] each, S samples of C channels, in -1 .. 1.
    """
    write_blocks(target, blocks, codec.config.rate, codec.config.channels)


def _shown(source: Path, target: Path, codec: AudioCodec) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the first seconds [S, C] of original and reconstruction, and their sample rate."""
    rate, channels = codec.config.rate, codec.config.channels
    before, after = (next(read_blocks(path, rate, channels, SHOWN_S)) for path in (source, target))
    return before, after, rate
