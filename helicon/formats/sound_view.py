"""View of a sound file for libsndfile, where the file as it is would be read wrongly."""

from __future__ import annotations

import io
import os
import struct
from typing import BinaryIO

MAX_CHUNKS = 1000  # before the samples
_TO_THE_END = b"\xff" * 4  # size of samples that libsndfile reads to the end of the file
_TITLES = (b"LIST", b"id3 ", b"ID3 ", b"fact", b"PEAK", b"bext", b"cue ", b"smpl", b"JUNK")  # chunks after no samples
_ID3V1 = 128  # bytes at the end of a file that libmpg123 reads first


class SoundView(io.RawIOBase):
    """Read-only, seekable view of an open file; a seek before its beginning is ignored."""

    def __init__(self, file: BinaryIO, start: int = 0, times: int = 1, patch: tuple[int, bytes] = (0, b"")) -> None:
        """View a file.

        Args:
            file: opened in binary mode, and left open; its position changes.
            start: offset at which the view begins.
            times: how many times as long as it is the view seems; zeros are read at its far end, nothing before.
            patch: offset in the view, and bytes that it has there.
        """
        self._file, self._start, self._patch, self._at = file, start, patch, 0
        self._length = (os.fstat(file.fileno()).st_size - start) * times

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position, in bytes from the beginning of the view."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position, as `io.IOBase.seek` does.

        Args:
            offset: in bytes, from the place of `whence`.
            whence: beginning, position or end.

        Returns:
            The new position.
        """
        at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        self._at = at if at >= 0 else self._at
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer from the position on, and return the number of bytes."""
        view = memoryview(buffer).cast("B")
        self._file.seek(self._start + self._at)
        data = self._file.read(len(view))
        if not data and self._at >= self._length - _ID3V1:
            data = bytes(min(len(view), self._length - self._at))
        view[: len(data)] = data
        for place, byte in enumerate(self._patch[1], self._patch[0] - self._at):
            if 0 <= place < len(data):
                view[place] = byte
        self._at += len(data)
        return len(data)


def streamed_wav(file: BinaryIO) -> SoundView | None:
    """View a WAV file that says that it has no samples, as recorders into a pipe leave it, as one with them.

    Args:
        file: opened in binary mode; its position changes.

    Returns:
        The `SoundView`; None for any other WAV file.
    """
    order, at = ">" if file.read(4) == b"RIFX" else "<", 12
    for _ in range(MAX_CHUNKS):
        file.seek(at)
        head = file.read(12)
        if len(head) < 12:
            return None
        name, size = struct.unpack_from(order + "4sL", head)
        if name == b"data":
            is_empty = size or head[8:] in _TITLES
            return None if is_empty else SoundView(file, patch=(at + 4, _TO_THE_END))
        at += 8 + size + size % 2
    return None
