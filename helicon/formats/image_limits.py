"""Limits on JPEG scans and TIFF tags that would cost a decoder far more than the file's size, checked beforehand.

`formats.image` checks widths and heights, `formats.image_parts` the number of chunks, segments and blocks.
"""

from __future__ import annotations

import re
import struct

MAX_SCANNED = 1_000_000_000  # pixels of a JPEG in all of its scans, each of which goes through all of them
MAX_COEFFICIENT_BYTES = 240_000_000  # of a JPEG of several scans, all of which are kept
MAX_FRACTION_PIXELS = MAX_SCANNED // 4  # of a JPEG that is decoded at a fraction: phones have up to 200 megapixels
SCAN_PIXELS = 10_000  # that a scan takes at least, however small the picture
MAX_TAG_BYTES = 16 << 20  # of the tags of a TIFF
MAX_TAG_NUMBERS = 1 << 16  # of one of them: as many strips, or tiles, each of which takes objects of Python's

_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # of a JPEG, within and after coded data
_FRAMES = frozenset((*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0)))
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_TEXTS = (1, 2, 7)  # types of TIFF's that stay bytes
_TRANSFER = 301  # tag of the transfer function, which has 3 x 65,536 numbers for 16 bits
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


def excess(data: bytes, kind: str) -> str:
    """Describe an excessive part of a picture file.

    Args:
        data: bytes of the file.
        kind: format, in Pillow's names; only JPEG and TIFF are checked.

    Returns:
        A line of text for people; empty for a file within the limits, and for a broken one.
    """
    try:
        return {"JPEG": _jpeg, "TIFF": _tiff}.get(kind, lambda data: "")(data)
    except (IndexError, struct.error):
        return ""


def _jpeg(data: bytes) -> str:
    at, pixels, scanned, components, coefficient_bytes = 2, 0, 0, 0, 0
    while match := _MARKER.search(data, at):
        kind, at = data[match.end() - 1], match.end()
        if kind == 0xD9:  # what follows is no part of the picture
            break
        if kind in _FRAMES:
            height, width, components = struct.unpack_from(">HHB", data, at + 3)
            pixels = width * height
            if pixels > MAX_FRACTION_PIXELS:  # refused for that
                return ""
            sampling = [(byte >> 4) * (byte & 15) for byte in data[at + 9 : at + 8 + 3 * components : 3]]
            coefficient_bytes = 2 * pixels * sum(sampling) // max([1, *sampling])
        # libjpeg keeps all coefficients if the first scan has not all components, and of progressive files
        keeps_all = kind in _PROGRESSIVE or (kind == 0xDA and data[at + 2] < components)
        if keeps_all and coefficient_bytes > MAX_COEFFICIENT_BYTES:
            return f"its pixels, in several scans, take more than {MAX_COEFFICIENT_BYTES:,} bytes"
        if kind == 0xDA:
            scanned += max(pixels, SCAN_PIXELS)
            if scanned > MAX_SCANNED:
                return f"more than {MAX_SCANNED:,} pixels in all of its scans"
        if kind != 0x01:
            at += struct.unpack_from(">H", data, at)[0]
    return ""


def _tiff(data: bytes) -> str:
    """Check the tags of the first directory, of which Pillow makes Python numbers unless they are bytes."""
    order = "<" if data.startswith(b"II") else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    offset, count, entry, size = ("Q", "Q", "HHQ", 20) if big else ("I", "H", "HHI", 12)
    (at,) = struct.unpack_from(order + offset, data, 8 if big else 4)
    (entries,) = struct.unpack_from(order + count, data, at)
    at += struct.calcsize("=" + count)
    total = 0
    for i in range(min(entries, (len(data) - at) // size)):
        tag, kind, values = struct.unpack_from(order + entry, data, at + size * i)
        most = 4 * MAX_TAG_NUMBERS if tag == _TRANSFER else MAX_TAG_NUMBERS
        if kind not in _TEXTS and values > most:
            return f"a tag of more than {most:,} numbers"
        total += values * _TIFF_SIZES.get(kind, 0)
        if total > MAX_TAG_BYTES + len(data) // 8:
            return f"tags of more than {MAX_TAG_BYTES:,} bytes"
    return ""
