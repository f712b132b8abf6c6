"""Decoding of sound files by libsndfile, one block at a time.

Nothing is allocated by what a header claims.

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
from helicon.formats.audio_kinds import KINDS, REMEDIES, SUFFIXES, Detected, accepted, detect
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
from helicon.formats.sound_view import SoundView, streamed_wav
from helicon.formats.suppress_output import suppress_output
from helicon.formats.vorbis import VorbisError, check_vorbis, has_last_page

TALKATIVE = ("MP3", "WAV", "W64")  # libmpg123, which decodes MP3, also in WAV, comments on every fault
LEFT_OVER = "file longer than its header says (the rest left out)"
JUNK = "MP3 files with other bytes before or amid the sound (passed over)"
UNSTATED = "WAV files whose header does not say their length (read to the end)"
# Whether libsndfile reads files itself, which is quicker; on Windows its file descriptors are others than Python's
DESCRIPTORS = os.name == "posix"

# libsndfile's own names. RAW, which it takes garbage for, is not among them.
_FORMATS = {*KINDS, "WAVEX", "RF64"}
_UNKNOWN = np.iinfo(np.int64).max  # frames of a FLAC file that does not say
_STREAMED = 0x7FFF_F000  # sizes from here on are what recorders write that do not know how long it will be
_SHORT = re.compile(r": (\d+) \(should be (\d+)\)")  # libsndfile's note of a size that is not the file's
# How often libmpg123 may give up its search for a frame amid the sound, each time after 1,024 bytes
MAX_FAULTS = 64
# Without a tag that says the length, libmpg123 takes the first frame's bit rate for that of all, and stops there; the
# highest, 320 kbit/s, is 40 times the lowest
_RATES_APART = 40
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
        notes: events for the report, from the opening.
    """

    kind: str
    rate: int
    channels: int
    frames: int | None
    notes: list[str]
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
            report: `ReadReport` that counts truncated files, and data beside the sound.

        Yields:
            NumPy float32 [S, C] blocks in order, S samples of C channels.

        Raises:
            AudioError: the file is broken from the first sample on, or holds more samples than its size allows.
        """
        read, faults, reason, notes = 0, 0, "", set(self.notes)
        most = check_length((self.frames or 0) * self.channels, self.n_bytes, MAX_SAMPLES_A_BYTE)
        while read != self.frames and faults <= (MAX_FAULTS if self.kind == "MP3" else 0):
            # What is left of a block that is not filled, libsndfile makes 0: a short sound would take longer for it
            ahead = size if self.frames is None else min(size, self.frames - read)
            block_SC = np.full((ahead, self.channels), np.nan, np.float32)
            try:
                with suppress_output(self.kind in TALKATIVE):
                    n = len(self._decoder.read(out=block_SC))
                if not n:
                    break
                notes |= {JUNK} if reason else set()
                reason = ""
            except soundfile.LibsndfileError as error:
                n = self._decoded(block_SC, read)
                faults, reason = faults + 1, _error_text(error)
            if n:
                yield block_SC[:n]
            read += n
            if read * self.channels > most:
                check_length(read * self.channels, self.n_bytes, MAX_SAMPLES_A_BYTE)
        if reason and not read:
            raise AudioError(f"a broken {self.kind} file: {reason}")
        if reason or (self.frames is not None and read < self.frames):
            notes.add(TRUNCATED)
        # Joined files; not the end of a file that has faults anyway
        if self.kind in ("OGG", "MP3") and not reason and self.n_bytes - self._file.tell() > _TAGS:
            notes.add(LEFT_OVER)
        for note in notes:
            report.add(note)

    def _decoded(self, block_SC: np.ndarray, read: int) -> int:
        """Return how many samples per channel of a block were decoded before a fault, after those that were read."""
        if self.kind == "MP3":  # whose position does not tell
            return int((~np.isnan(block_SC[:, -1])).sum())
        return min(max(self._decoder.tell() - read, 0), len(block_SC))


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
        detected = detect(file)
        kind = detected.kind
        file.seek(0)
        if kind in audio_av.DEMUXERS:
            with open_av(file, kind) as reader:
                yield reader
            return
        notes = [JUNK] if detected.padding else []
        notes += [TRUNCATED] if kind == "OGG" and not _whole_ogg(file) else []
        source: Any = _view(file, detected) or (file.fileno() if DESCRIPTORS else file)
        file.seek(0)
        # libsndfile is given no name: it would guess by the suffix where the bytes tell it nothing
        try:
            with suppress_output(kind in TALKATIVE):
                decoder = _Forward(source, closefd=False)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"a broken {kind} file: {_error_text(error)}") from error
        with decoder:
            if decoder.format not in _FORMATS:
                raise AudioError(f"a {kind} file that holds {decoder.format}: {accepted()}")
            check_rate(decoder.samplerate)
            check_channels(decoder.channels)
            if decoder.frames < 1:
                raise AudioError("no sound in it")
            frames = decoder.frames if detected.says_length and decoder.frames < _UNKNOWN else None
            yield SoundReader(
                kind=kind,
                rate=decoder.samplerate,
                channels=decoder.channels,
                frames=frames,
                notes=notes + _size_notes(decoder),
                _decoder=decoder,
                _file=file,
            )


def _view(file: BinaryIO, detected: Detected) -> SoundView | None:
    """Return the view that libsndfile needs of a file; None where it reads the file as it is."""
    if detected.kind == "WAV":
        return streamed_wav(file)
    if detected.padding or not detected.says_length:
        return SoundView(file, detected.start, 1 if detected.says_length else _RATES_APART)
    return None


def _whole_ogg(file: BinaryIO) -> bool:
    """Return whether the last page of an OGG file is there; raise AudioError for one that no decoder should meet."""
    try:
        check_vorbis(file)
    except VorbisError as error:
        raise AudioError(f"a broken OGG file: {error}") from None
    return has_last_page(file)


def _error_text(error: soundfile.LibsndfileError) -> str:
    """Return libsndfile's error message in one line."""
    text = " ".join(error.error_string.split()).removeprefix("Error : ").rstrip(".!")
    return text or "it cannot be decoded"


def _size_notes(decoder: soundfile.SoundFile) -> list[str]:
    """Return events that sizes in the header beyond the file tell of; the frame count is what libsndfile corrects."""
    beyond = [int(says) for says, has in _SHORT.findall(decoder.extra_info) if int(has) < int(says)]
    is_cut, is_streamed = any(says < _STREAMED for says in beyond), any(says >= _STREAMED for says in beyond)
    return [TRUNCATED] * is_cut + [UNSTATED] * is_streamed
