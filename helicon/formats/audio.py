"""Sound in memory, and sound files: every format of libsndfile is read as samples, 16-bit WAV is written.

`read_audio` and `read_blocks` return the same samples of a file.

Shapes: S samples, C channels.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from os import PathLike, fspath
from pathlib import Path

import numpy as np
import soundfile

from helicon.formats.audio_av import AvReader
from helicon.formats.audio_decode import SoundReader, open_audio
from helicon.formats.audio_kinds import SUFFIXES
from helicon.formats.audio_limits import AudioError, check_length, check_rate
from helicon.formats.audio_samples import NOT_FINITE, QUIET, clean, length_at, mix, regrouped, resampled
from helicon.formats.files import atomic_write
from helicon.formats.quantities import quantity
from helicon.formats.read_report import ReadReport

LONGEST_S = 4 * 3600.0  # of a sound that is read whole
MAX_BYTES = 1 << 30  # of its samples in memory
MAX_MADE_A_BYTE = 16  # samples for each byte of the file, at the rate that is asked for, beyond the first 48 million
MAX_WAV_BYTES = (1 << 32) - (1 << 10)  # of samples in a WAV file, whose sizes have 32 bits
MAX_RATE, MAX_CHANNELS = 384_000, 2  # samples a second, and how many at a time, of a sound for a model
HEARD_RATE = 44_100  # samples a second from which on none that people hear is lost
QUIET_PEAK = 0.01  # of full scale, -40 dB: a sound that is nowhere louder is mostly noise in 8 or 16 bits
_BLOCK = 1 << 18  # samples of all channels that are decoded or resampled at a time


@dataclass(frozen=True)
class Sound:
    """Sampled sound.

    Attributes:
        samples: float32 [S, C], S samples of C channels, about -1 .. 1.
        rate: samples a second.
    """

    samples: np.ndarray
    rate: int

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def channels(self) -> int:
        """Number of channels: 1 for mono, 2 for stereo."""
        return self.samples.shape[1]

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self) / self.rate

    @property
    def nbytes(self) -> int:
        """Size of the samples in memory, in bytes."""
        return self.samples.nbytes

    def cut(self, seconds: float) -> Sound:
        """Return the first `seconds` of the sound, to the nearest sample, as a `Sound`."""
        return replace(self, samples=self.samples[: round(seconds * self.rate)])


def read_audio(path: Path | str, rate: int | None = None, channels: int | None = 1) -> tuple[Sound, ReadReport]:
    """Read a sound file, resampled and mixed as requested.

    The format is detected by the first bytes, not by the suffix. Of chained OGG or joined MP3 files the first is read.

    Args:
        path: path of a sound file.
        rate: samples a second to resample to; None keeps the file's rate.
        channels: 1 or 2, to which channels are mixed or doubled as by `audio_samples.mix`; None keeps the file's.

    Returns:
        The `Sound`, its samples in [-1, 1], and a `ReadReport` with counts of what was dropped or changed.

    Raises:
        AudioError: the file cannot be read, or is too long for memory.
        OSError: the file cannot be opened.
        ValueError: `rate` or `channels` is out of range.
    """
    report, blocks, frames, buffer = ReadReport(), [], 0, None
    with open_audio(path) as source:
        rate, channels = _rate_and_channels(source, rate, channels)
        most = min(round(LONGEST_S * rate), MAX_BYTES // (4 * channels))
        most_of_size = check_length(0, source.n_bytes, MAX_MADE_A_BYTE) // channels
        if source.frames:
            length = length_at(source.frames, source.rate, rate)
            if length > most:
                raise _too_long(most, rate)
            check_length(length * channels, source.n_bytes, MAX_MADE_A_BYTE)
            buffer = np.empty((length, channels), np.float32)  # of which only what is filled takes memory
        for block in _samples(source, rate, channels, report):
            start, frames = frames, frames + len(block)
            if frames > most:
                raise _too_long(most, rate)
            if frames > most_of_size:
                check_length(frames * channels, source.n_bytes, MAX_MADE_A_BYTE)
            if buffer is None or frames > len(buffer):
                blocks.append(block)
            else:
                buffer[start:frames] = block
    if buffer is not None:
        blocks.insert(0, buffer[: frames - sum(map(len, blocks))])
    return Sound(np.concatenate(blocks) if len(blocks) > 1 else blocks[0], rate), report


def read_blocks(
    path: Path | str, rate: int | None = None, channels: int | None = 1, seconds: float = 10.0,
    report: ReadReport | None = None,
) -> Iterator[np.ndarray]:  # fmt: skip
    """Read a sound file of any length in blocks; concatenated, they are the samples of `read_audio`.

    Args:
        path: path of a sound file.
        rate: samples a second to resample to; None keeps the file's rate.
        channels: 1 or 2 to mix or double to; None keeps the file's.
        seconds: duration of a block in seconds.
        report: `ReadReport` that receives counts of dropped or changed samples while blocks are read.

    Yields:
        NumPy float32 [S, C] blocks of `seconds`, S samples of C channels in [-1, 1]; the last may be shorter.

    Raises:
        AudioError: the file cannot be read.
        OSError: the file cannot be opened.
        ValueError: `rate` or `channels` is out of range, or a block has no sample.
    """
    with open_audio(path) as source:
        rate, channels = _rate_and_channels(source, rate, channels)
        size = round(seconds * rate)
        if size < 1:
            raise ValueError(f"blocks of {seconds} seconds: 1 sample or more is accepted")
        yield from regrouped(_samples(source, rate, channels, report or ReadReport()), size)


def audio_info(path: Path | str) -> tuple[int, int, int]:
    """Return samples a second, number of channels, and samples per channel of a sound file.

    The last are counted by decoding where the header lacks them.

    Args:
        path: path of a sound file.

    Returns:
        Three ints, in this order.

    Raises:
        AudioError: the file cannot be read.
        OSError: the file cannot be opened.
    """
    with open_audio(path) as source:
        frames = source.frames
        if frames is None:
            frames = sum(map(len, source.blocks(max(1, _BLOCK // source.channels), ReadReport())))
        return source.rate, source.channels, frames


def common_rate(paths: Iterable[Path | str]) -> int:
    """Return the most frequent sample rate among sound files, in samples a second.

    The higher of two equally frequent rates counts. Files that cannot be opened are skipped.

    Args:
        paths: paths of sound files.

    Raises:
        ValueError: no file can be opened.
    """
    counts: Counter[int] = Counter()
    for path in paths:
        with suppress(ValueError, OSError), open_audio(path) as source:
            counts[source.rate] += 1
    if not counts:
        raise ValueError(f"no sound file that can be read: {' '.join(SUFFIXES)} are accepted")
    return max(counts, key=lambda rate: (counts[rate], rate))


def write_audio(sound: Sound, path: str | PathLike[str]) -> None:
    """Write a sound as a 16-bit WAV file, atomically; samples beyond -1 .. 1 are clipped.

    16-bit samples that were read are written unchanged.

    Args:
        sound: `Sound` of finite samples.
        path: path of the file, with the suffix `.wav`.

    Raises:
        ValueError: a sample is NaN or infinite, the suffix is another, or the sound is too long for a WAV file.
        OSError: the file cannot be written.
    """
    write_blocks(path, [sound.samples], sound.rate, sound.channels)


def write_blocks(path: str | PathLike[str], blocks: Iterable[np.ndarray], rate: int, channels: int) -> None:
    """Write consecutive blocks of a sound as one 16-bit WAV file, atomically, with one block in memory.

    Args:
        path: path of the file, with the suffix `.wav`.
        blocks: NumPy float32 [S, C] each, S samples of C channels, finite.
        rate: samples a second.
        channels: number C of channels.

    Raises:
        ValueError: as by `write_audio`.
        OSError: the file cannot be written.
    """
    if Path(path).suffix.lower() != ".wav":
        raise ValueError(f"suffix {Path(path).suffix!r}: sound is written as .wav")
    check_rate(rate)
    n_bytes = 0
    try:
        with (
            atomic_write(path) as temporary,
            soundfile.SoundFile(temporary, "w", rate, channels, subtype="PCM_16", format="WAV") as file,
        ):
            for block in blocks:
                pcm_SC = _pcm16(block, channels)
                n_bytes += pcm_SC.nbytes
                if n_bytes > MAX_WAV_BYTES:
                    most = MAX_WAV_BYTES / rate / channels / 2
                    raise ValueError(f"more than {most:,.0f} s, which a WAV file can hold")
                file.write(pcm_SC)
    except soundfile.LibsndfileError as error:  # such as that of a full disk
        raise OSError(errno.EIO, f"could not be written ({error.error_string})", fspath(path)) from error


def _pcm16(x_SC: np.ndarray, channels: int) -> np.ndarray:
    """Convert float samples to int16 [S, C], rounded and clipped; the inverse of a division by 32,768."""
    if x_SC.ndim != 2 or x_SC.shape[1] != channels:
        raise ValueError(f"samples of shape {x_SC.shape}: [samples, {channels}] is accepted")
    if not np.isfinite(x_SC).all():
        raise ValueError("samples that are NaN or infinite: a sound file holds numbers")
    return np.rint(x_SC * np.float32(32768)).clip(-32768, 32767).astype(np.int16)


def _rate_and_channels(source: SoundReader | AvReader, rate: int | None, channels: int | None) -> tuple[int, int]:
    """Return the sample rate and channels to read a file with; raise ValueError for unsupported ones."""
    if channels not in (None, 1, 2):
        raise ValueError(f"{channels} channels: 1, 2 or None, for as many as there are, are accepted")
    rate = source.rate if rate is None else rate
    check_rate(rate)
    return rate, channels or source.channels


def _samples(source: SoundReader | AvReader, rate: int, channels: int, report: ReadReport) -> Iterator[np.ndarray]:
    """Yield a file's samples in blocks [S, C] of varying size, mixed and resampled."""
    report.add(f"sounds of more than {rate:,} Hz (resampled)", rate < min(source.rate, HEARD_RATE))
    # Resampled to a higher rate, a block is larger afterwards than before
    size = max(1, _BLOCK // max(source.channels, channels * -(-rate // source.rate)))
    yield from resampled(_mixed(source, size, channels, report), channels, source.rate, rate)


def _mixed(source: SoundReader | AvReader, size: int, channels: int, report: ReadReport) -> Iterator[np.ndarray]:
    """Yield mixed samples at the file's rate; raise AudioError if there was no sample, or no finite one."""
    heard, before, peak, differ = 0, report.counts.get(NOT_FINITE, 0), 0.0, False
    for block_SC in source.blocks(size, report):
        heard += block_SC.size
        block_SC = clean(block_SC, report)
        peak = max(peak, block_SC.max(initial=0), -block_SC.min(initial=0))
        differ = differ or (channels < source.channels and not (block_SC[:, 1:] == block_SC[:, :1]).all())
        yield mix(block_SC, channels, source.kind == "OGG")
    if heard == report.counts.get(NOT_FINITE, 0) - before:
        raise AudioError("no sound in it" + (": all of its samples are NaN or infinite" if heard else ""))
    report.add(QUIET, peak < QUIET_PEAK)
    report.add(f"sounds of more than {quantity(channels, 'channel')} (mixed)", differ)  # not of one sound twice


def _too_long(most: int, rate: int) -> AudioError:
    return AudioError(f"too long to be read whole: up to {most / rate / 60:,.1f} minutes at {rate:,} Hz are accepted")
