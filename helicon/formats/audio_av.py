"""Decoding of sounds that libsndfile does not read (AAC, M4A, WebM, WMA) by FFmpeg, where PyAV is installed.

The demuxer is chosen by the file's first bytes and named to FFmpeg, which would else try all that it has.

Shapes: S samples, C channels.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from typing import Any, BinaryIO

import numpy as np

from helicon.formats.audio_limits import (
    MAX_SAMPLES_A_BYTE,
    TRUNCATED,
    AudioError,
    check_channels,
    check_length,
    check_rate,
)
from helicon.formats.audio_samples import regrouped
from helicon.formats.read_report import ReadReport

DEMUXERS = {"MPEG-4": "mov", "AAC": "aac", "Matroska or WebM": "matroska", "Windows Media": "asf"}  # kind -> FFmpeg's
SUFFIXES = (".m4a", ".m4b", ".aac", ".webm", ".weba", ".mka", ".wma")
THERE = bool(find_spec("av"))
INSTALL = "pip install av"
SLACK_S = 0.25  # by which a header's duration may be longer than the sound: encoders round it up to a frame


@dataclass(frozen=True, kw_only=True)
class AvReader:
    """Open sound file; the interface of `audio_decode.SoundReader`.

    Attributes:
        kind: format, of `DEMUXERS`.
        rate: samples a second.
        channels: number of channels.
        frames: None; only decoding tells how many samples there are.
        n_bytes: size of the file in bytes.
    """

    kind: str
    rate: int
    channels: int
    n_bytes: int
    frames: None = None
    _seconds: float  # by the header; 0 where it does not say
    _decoded: Iterator[np.ndarray]

    def blocks(self, size: int, report: ReadReport) -> Iterator[np.ndarray]:
        """Decode the file once, up to its end or to the point where it is broken.

        Args:
            size: number of samples per channel of a block; the last may have fewer.
            report: `ReadReport` that counts truncated files.

        Yields:
            NumPy float32 [S, C] blocks in order, S samples of C channels.

        Raises:
            AudioError: the file holds more samples than its size allows.
        """
        yield from regrouped(self._checked(report), size)

    def _checked(self, report: ReadReport) -> Iterator[np.ndarray]:
        from av.error import FFmpegError  # pyright: ignore[reportMissingImports]

        read, broken = 0, False
        try:
            for block_SC in self._decoded:
                read += len(block_SC)
                check_length(read * self.channels, self.n_bytes, MAX_SAMPLES_A_BYTE)
                yield block_SC
        except FFmpegError:
            broken = True
        report.add(TRUNCATED, broken or read / self.rate < self._seconds - SLACK_S)


@contextmanager
def open_av(file: BinaryIO, kind: str) -> Iterator[AvReader]:
    """Open a sound file for the time of the `with` block.

    Args:
        file: open file, at its beginning.
        kind: of DEMUXERS.

    Yields:
        The `AvReader`.

    Raises:
        AudioError: no sound, or PyAV is not installed.
    """
    if not THERE:
        raise AudioError(f"a {kind} file, which PyAV reads: {INSTALL}")
    import av  # pyright: ignore[reportMissingImports]
    from av.error import FFmpegError  # pyright: ignore[reportMissingImports]

    try:
        container: Any = av.open(file, format=DEMUXERS[kind], metadata_errors="ignore")
    except (FFmpegError, ValueError) as error:
        raise AudioError(f"a broken {kind} file: {_reason(error)}") from None
    with container:
        if not container.streams.audio:
            raise AudioError(f"a {kind} file without sound")
        stream = container.streams.audio[0]
        frames = _frames(container, stream)
        try:
            first = next(frames, None)
        except FFmpegError as error:
            raise AudioError(f"a broken {kind} file: {_reason(error)}") from None
        if first is None:
            raise AudioError("no sound in it")
        rate, channels = first.sample_rate, len(first.layout.channels)
        check_rate(rate)
        check_channels(channels)
        seconds = float(stream.duration * stream.time_base) if stream.duration else (container.duration or 0) / 1e6
        yield AvReader(
            kind=kind, rate=rate, channels=channels, n_bytes=os.fstat(file.fileno()).st_size,
            _seconds=0.0 if kind == "AAC" else seconds,  # which FFmpeg guesses for AAC
            _decoded=_samples(chain([first], frames), rate, channels),
        )  # fmt: skip


def _frames(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the decoded frames of a stream."""
    for packet in container.demux(stream):
        yield from packet.decode()


def _samples(frames: Iterator[Any], rate: int, channels: int) -> Iterator[np.ndarray]:
    """Yield frames as float32 [S, C], up to the first of another rate or number of channels."""
    import av  # pyright: ignore[reportMissingImports]
    from av.error import FFmpegError  # pyright: ignore[reportMissingImports]

    to_float = av.AudioResampler(format="fltp")
    for frame in frames:
        if frame.sample_rate != rate or len(frame.layout.channels) != channels:
            raise FFmpegError(0, "sample rate or channels change")
        for converted in to_float.resample(frame):
            yield np.ascontiguousarray(converted.to_ndarray().T)


def _reason(error: Exception) -> str:
    """Return FFmpeg's message in a few words."""
    return " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
