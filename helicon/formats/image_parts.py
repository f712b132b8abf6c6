"""Limits on the number of chunks, segments and blocks of picture files, which Pillow parses slowly, one by one.

Counted are chunks of PNG, segments of JPEG up to its first scan, blocks of GIF up to its second frame, and the pixels
of run-length encoded BMP, which Pillow unpacks in Python. Other faults are left to the decoders.
"""

from __future__ import annotations

import re
import struct

MAX_CHUNKS = 1 << 17  # of a PNG: most of them pixels, of 8 KB in large files
MAX_OTHERS = 1 << 12  # of them that are not pixels of a frame
MAX_PROFILES = 8  # each unpacked to at most 1 MB; one is allowed
MAX_SEGMENTS = 1 << 12  # of a JPEG before its first scan
MAX_EXIF = 16  # segments of EXIF data, which Pillow joins one by one
MAX_BLOCKS = 1 << 19  # of a GIF, of up to 255 bytes each
MAX_STRAY = 1 << 16  # bytes between parts
MAX_RUNS = 1 << 22  # pixels of a BMP packed by lengths of runs
PACKED = (1, 2)  # its compressions

_FRAME = (b"IDAT", b"fdAT", b"fcTL")
_MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers of JPEG without a length
_SCAN, _END, _APP1 = 0xDA, 0xD9, 0xE1
_IMAGE, _EXTENSION = ord(","), ord("!")


class PartsError(ValueError):
    """More parts than a picture may have; the message is one line without the path."""


def check_parts(data: bytes, kind: str) -> None:
    """Check the number of parts of a picture file.

    Args:
        data: bytes of the file.
        kind: format, in Pillow's names; only PNG, JPEG and BMP are checked.

    Raises:
        PartsError: the file has too many parts.
    """
    {"PNG": _png, "JPEG": _jpeg, "BMP": _bmp}.get(kind, _none)(data)


def _none(data: bytes) -> None:
    """Accept formats that C libraries parse or Pillow bounds."""


def _png(data: bytes) -> None:
    at, chunks, others, profiles = 8, 0, 0, 0
    while at + 8 <= len(data):
        name = data[at + 4 : at + 8]
        chunks, others, profiles = chunks + 1, others + (name not in _FRAME), profiles + (name == b"iCCP")
        if chunks > MAX_CHUNKS or others > MAX_OTHERS or profiles > MAX_PROFILES:
            raise PartsError(
                f"more than {MAX_CHUNKS:,} chunks, {MAX_OTHERS:,} that are not pixels, or {MAX_PROFILES} profiles"
            )
        at += 12 + int.from_bytes(data[at : at + 4])


def _jpeg(data: bytes) -> None:
    at, segments, exif, stray = 2, 0, 0, 0
    while match := _MARKER.search(data, at):
        marker, stray, at = match[1][0], stray + match.end() - 2 - at, match.end()
        if marker in (_SCAN, _END):
            break
        size = 0 if marker in _ALONE else int.from_bytes(data[at : at + 2])
        exif += marker == _APP1 and data.startswith(b"Exif\0", at + 2)
        segments, at = segments + 1, at + size
        if segments > MAX_SEGMENTS or exif > MAX_EXIF or stray > MAX_STRAY:
            raise PartsError(
                f"more than {MAX_SEGMENTS:,} segments, {MAX_EXIF} of EXIF, or {MAX_STRAY:,} bytes between them"
            )


def _bmp(data: bytes) -> None:
    if len(data) < 34 or int.from_bytes(data[14:18], "little") < 40:
        return
    width, height = struct.unpack_from("<ll", data, 18)
    if int.from_bytes(data[30:34], "little") in PACKED and max(abs(width * height), len(data)) > MAX_RUNS:
        raise PartsError(f"lengths of runs of more than {MAX_RUNS:,} pixels or bytes")


def gif_extent(data: bytes) -> tuple[int, int]:
    """Return width and height in pixels of the screen of a GIF, from the bytes of the file.

    The screen is extended by the first frame, as Pillow does on opening.

    Raises:
        IndexError: the file ends before its first frame.
        struct.error: likewise.
        PartsError: there are too many blocks before the second frame.
    """
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)  # after the palette of the screen
    blocks = stray = frames = 0
    while frames < 2:
        if frames and at >= len(data):
            break
        kind = data[at]
        if kind == _IMAGE and frames == 0:
            left, top, frame_width, frame_height, its_flags = struct.unpack_from("<4HB", data, at + 1)
            width, height = max(width, left + frame_width), max(height, top + frame_height)
            at += 11 + (3 << (its_flags & 7) + 1 if its_flags & 0x80 else 0)
        elif kind == _EXTENSION:
            at += 2
        elif kind != _IMAGE:
            at, stray = at + 1, stray + 1
        frames += kind == _IMAGE
        while kind in (_IMAGE, _EXTENSION) and frames < 2 and at < len(data) and data[at] and blocks <= MAX_BLOCKS:
            at, blocks = at + data[at] + 1, blocks + 1
        at, blocks = at + (kind in (_IMAGE, _EXTENSION)), blocks + 1
        if blocks > MAX_BLOCKS or stray > MAX_STRAY:
            raise PartsError(f"more than {MAX_BLOCKS:,} blocks, or {MAX_STRAY:,} bytes between them")
    return width, height
