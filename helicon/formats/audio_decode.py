"""Decoding of sound files by libsndfile, one block at a time.

The first bytes decide which files are decoded, and nothing is allocated by what a header claims. Raw samples without a
header are refused: any file could be played as such.

Shapes: S samples, C channels.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from helicon.formats import audio_av
from helicon.formats.audio_av import AvReader, open_av
from helicon.formats.audio_limits import (
    MAX_SAMPLES_A_BYTE,
    TRUNCATED,
    AudioError,
    check_channels,
    check_length,
    check_rate,
)
from helicon.formats.files import open_regular
from helicon.formats.read_report import ReadReport
from helicon.formats.suppress_output import suppress_output
from helicon.formats.vorbis import VorbisError, check_vorbis

# Suffixes of files that are accepted; the first bytes decide which of the formats `KINDS` a file has
SUFFIXES = (
    ".wav", ".flac", ".ogg", ".mp3", ".oga", ".opus", ".aiff", ".aif", ".aifc", ".au", ".snd", ".caf", ".w64",
    *(audio_av.SUFFIXES if audio_av.THERE else ()),
)  # fmt: skip
# Suffixes of sounds that are not read -> what to do
_OTHERS: tuple[str, ...] = (
    ".mp4", ".mov", ".mkv", ".avi", ".ape", ".wv", ".amr", ".ac3", ".dsf", ".mpc", ".ra", ".tta", ".aup3",
)  # fmt: skip
REMEDIES: dict[str, str] = dict.fromkeys(_OTHERS, "convert to .flac or .wav")
if not audio_av.THERE:
    REMEDIES |= dict.fromkeys(audio_av.SUFFIXES, audio_av.INSTALL)
TALKATIVE = ("MP3", "WAV", "W64")  # libmpg123, which decodes MP3, also in WAV, comments on every fault
KINDS = ("WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "W64")
LEFT_OVER = "file longer than its header says (the rest left out)"
# Whether libsndfile reads files itself, which is quicker; on Windows its file descriptors are others than Python's
DESCRIPTORS = os.name == "posix"

_SIGNATURES = {  # what a file begins with
    "WAV": rb"(RIFF|RIFX|RF64)....WAVE",
    "FLAC": rb"fLaC",
    "OGG": rb"OggS",
    "MP3": rb"ID3|\xff[\xe2-\xe7\xf2-\xf7\xfa-\xff]",  # 11 bits that are set, then layer I, II or III
    "AIFF": rb"FORM....AIF[FC]",
    "AU": rb"\.snd|dns\.",
    "CAF": rb"caff",
    "W64": rb"riff\x2e\x91\xcf\x11",
    # Of PyAV
    "AAC": rb"\xff[\xf0\xf1\xf8\xf9]",
    "MPEG-4": rb"....ftyp",
    "Windows Media": rb"\x30\x26\xb2\x75",
    "Matroska or WebM": rb"\x1a\x45\xdf\xa3",
    # Known by name only, so that people see what they have
    "AVI": rb"RIFF....AVI ",
    "WavPack": rb"wvpk",
    "Monkey's Audio": rb"MAC ",
    "AMR": rb"#!AMR",
    "MIDI": rb"MThd",
    "ZIP": rb"PK\x03\x04",
    "web page": rb"<",
}
# libsndfile's own names. RAW, which it takes garbage for, is not among them.
_FORMATS = {*KINDS, "WAVEX", "RF64"}
_MPEG_LENGTHS = (b"Xing", b"Info", b"VBRI")  # tags in the first frame that say how many there are
_UNKNOWN = np.iinfo(np.int64).max  # frames of a FLAC file that does not say
_STREAMED = 0x7FFF_F000  # sizes from here on are what recorders write that do not know how long it will be
_SHORT = re.compile(r": (\d+) \(should be (\d+)\)")  # libsndfile's note of a size that is not the file's
# Bytes and number of tags before the first frame of an MP3 file: libmpg123 goes through their parts one by one
MAX_ID3_BYTES, MAX_ID3_TAGS = 16 << 20, 64
_TAGS = 1 << 16  # bytes that may follow the last frame: titles, and what the decoder has read ahead


class _File(io.BufferedReader):
    """File object for libsndfile in which a seek before the beginning, as broken headers cause, is ignored."""

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return super().seek(offset, whence)
        except OSError:
            return self.tell()


class _Forward(soundfile.SoundFile):
    """SoundFile that never seeks: SoundFile's seek after each read loses the end of some FLAC files."""

    def seekable(self) -> bool:
        return False


@dataclass(frozen=True, kw_only=True)
class SoundReader:
    """Open sound file.

    Attributes:
        kind: format, of `KINDS`.
        rate: samples a second, by the header.
        channels: number of channels, by the header.
        frames: samples per channel by the header; None where the header lacks them.
    """

    kind: str
    rate: int
    channels: int
    frames: int | None
    _decoder: _Forward
    _file: BinaryIO

    @property
    def n_bytes(self) -> int:
        """Size of the file in bytes."""
        return os.fstat(self._file.fileno()).st_size

    def blocks(self, size: int, report: ReadReport) -> Iterator[np.ndarray]:
        """Decode the file once, up to its end or to the point where it is broken.

        Args:
            size: greatest number of samples per channel of a block.
            report: `ReadReport` that counts truncated files and data after the sound.

        Yields:
            NumPy float32 [S, C] blocks in order, S samples of C channels.

        Raises:
            AudioError: the file is broken from the first sample on, or holds more samples than its size allows.
        """
        read, reason = 0, ""
        most = check_length((self.frames or 0) * self.channels, self.n_bytes, MAX_SAMPLES_A_BYTE)
        while not reason and read != self.frames:
            # What is left of a block that is not filled, libsndfile makes 0: a short sound would take longer for it
            ahead = size if self.frames is None else min(size, self.frames - read)
            block_SC = np.empty((ahead, self.channels), np.float32)
            try:
                with suppress_output(self.kind in TALKATIVE):
                    n = len(self._decoder.read(out=block_SC))
            except soundfile.LibsndfileError as error:
                # What was decoded before the fault is in the block; only the position tells how much that is
                n, reason = min(max(self._decoder.tell() - read, 0), ahead), _error_text(error)
            if n:
                yield block_SC[:n]
            elif not reason:
                break
            read += n
            if read * self.channels > most:
                check_length(read * self.channels, self.n_bytes, MAX_SAMPLES_A_BYTE)
        if reason and not read:
            raise AudioError(f"a broken {self.kind} file: {reason}")
        short = self.frames is not None and read < self.frames
        report.add(TRUNCATED, bool(reason or short or _cut_off(self._decoder)))
        if self.kind in ("OGG", "MP3") and not reason:  # joined files; MP3 of varying bit rate that does not say so
            report.add(LEFT_OVER, os.fstat(self._file.fileno()).st_size - self._file.tell() > _TAGS)


@contextmanager
def open_audio(path: Path | str) -> Iterator[SoundReader | AvReader]:
    """Open the sound file at a path as a `SoundReader` or `AvReader`, for the time of the `with` block.

    Raises:
        AudioError: the file is not a readable sound.
        OSError: the file cannot be opened.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in SUFFIXES:
        hint = f"; {REMEDIES[suffix]}" if suffix in REMEDIES else ""
        raise AudioError(f"suffix {suffix!r}: {' '.join(SUFFIXES)} are accepted{hint}")
    raw: Any = open_regular(path).detach()
    with raw if DESCRIPTORS else _File(raw) as file:
        kind, says_length = _kind(file)
        if kind in audio_av.DEMUXERS:
            with open_av(file, kind) as reader:
                yield reader
            return
        # libsndfile is given no name: it would guess by the suffix where the bytes tell it nothing
        try:
            with suppress_output(kind in TALKATIVE):
                decoder = _Forward(file.fileno() if DESCRIPTORS else file, closefd=False)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"a broken {kind} file: {_error_text(error)}") from error
        with decoder:
            if decoder.format not in _FORMATS:
                raise AudioError(f"a {kind} file that holds {decoder.format}: {_accepted()}")
            check_rate(decoder.samplerate)
            check_channels(decoder.channels)
            if decoder.frames < 1:
                raise AudioError("no sound in it")
            frames = decoder.frames if says_length and decoder.frames < _UNKNOWN else None
            yield SoundReader(
                kind=kind,
                rate=decoder.samplerate,
                channels=decoder.channels,
                frames=frames,
                _decoder=decoder,
                _file=file,
            )


def _kind(file: BinaryIO) -> tuple[str, bool]:
    """Detect the format by the first bytes, and if its header states the length; rewind the file."""
    head = file.read(64) if os.fstat(file.fileno()).st_size else b""
    if not head:
        raise AudioError("the file is empty")
    kind = next((kind for kind, begin in _SIGNATURES.items() if re.match(begin, head, re.DOTALL)), None)
    if kind not in (*KINDS, *audio_av.DEMUXERS):
        raise AudioError(f"{f'a {kind} file' if kind else 'not a sound file'}: {_accepted()}")
    says_length = True
    if kind == "MP3":
        at, tags, frame = 0, 0, head
        while frame.startswith(b"ID3"):  # a tag before the first frame; its size is 4 times 7 bits
            tags += 1
            at += 10 + sum((byte & 0x7F) << shift for byte, shift in zip(frame[6:10], (21, 14, 7, 0)))
            if at > MAX_ID3_BYTES or tags > MAX_ID3_TAGS:
                raise AudioError(f"more than {MAX_ID3_BYTES:,} bytes, or {MAX_ID3_TAGS}, of ID3 tags before the sound")
            file.seek(at)
            frame = file.read(64)
        says_length = any(tag in frame for tag in _MPEG_LENGTHS)
    file.seek(0)
    if kind == "OGG":
        try:
            check_vorbis(file)
        except VorbisError as error:
            raise AudioError(f"a broken OGG file: {error}") from None
        file.seek(0)
    return kind, says_length


def _accepted() -> str:
    return f"{', '.join([*KINDS, *(audio_av.DEMUXERS if audio_av.THERE else ())])} are accepted"


def _error_text(error: soundfile.LibsndfileError) -> str:
    """Return libsndfile's error message in one line."""
    text = " ".join(error.error_string.split()).removeprefix("Error : ").rstrip(".!")
    return text or "it cannot be decoded"


def _cut_off(decoder: soundfile.SoundFile) -> bool:
    """Return True if a size in the header exceeds the file; the frame count is no evidence, libsndfile corrects it."""
    sizes = ((int(says), int(has)) for says, has in _SHORT.findall(decoder.extra_info))
    return any(has < says < _STREAMED for says, has in sizes)
