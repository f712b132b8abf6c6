"""Size check of Vorbis codebooks before a decoder allocates tables: a few bytes can ask for gigabytes.

Pages of OGG: RFC 3533. Setup header: Vorbis I specification, section 3.2.1 for codebooks.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache
from os import SEEK_END
from typing import BinaryIO

MAX_VALUES = 1 << 20  # numbers that all codebooks have; the encoders that there are make some ten thousand
MAX_BYTES = 64 << 20  # of header pages, of which pictures of an album are a part
_MAX_PAGE = 27 + 255 + 255 * 255  # bytes of a page
HEADERS = 3  # packets: what it is, comments, setup
# Head of a page (RFC 3533, section 6): mark, version, flags, position, stream, number, checksum, count of segments
_PAGE = struct.Struct("<4sBBqLLLB")
_CONTINUED, _LAST = 1, 4  # flags of a page that begins within a packet, and of a stream's last
# By byte: the same bits from last to first
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class VorbisError(ValueError):
    """Damaged headers, or codebooks that are too large; the message is one line without the path."""


def check_vorbis(file: BinaryIO) -> None:
    """Raise VorbisError if codebooks of an OGG file, open in binary mode, are too large; others than Vorbis pass."""
    packets: list[bytes] = []
    for packet in _packets(file):
        packets.append(packet)
        if not packets[0].startswith(b"\x01vorbis") or len(packets) == HEADERS:
            break
    if len(packets) == HEADERS and _values(packets[-1]) > MAX_VALUES:
        raise VorbisError(f"its codebooks have more than {MAX_VALUES:,} values")


def has_last_page(file: BinaryIO) -> bool:
    """Return whether an OGG file, open in binary mode, ends with a whole page that is marked as its stream's last."""
    size = file.seek(0, SEEK_END)
    file.seek(max(0, size - _MAX_PAGE))
    data = file.read()
    page = data[max(0, data.rfind(b"OggS")) :]
    if len(page) < _PAGE.size:
        return False
    *_, flags, _, _, _, _, segments = _PAGE.unpack_from(page)
    end = _PAGE.size + segments
    return bool(flags & _LAST) and len(page) >= end + sum(page[_PAGE.size : end])


def _packets(file: BinaryIO) -> Iterator[bytes]:
    """Yield packets of the first stream; raise VorbisError at a damaged or missing page.

    Decoders would resynchronise at a later page, whose codebooks have not been checked.
    """
    serial, following, taken, packet = None, 0, 0, b""
    while taken < MAX_BYTES:
        head = file.read(_PAGE.size)
        if len(head) < _PAGE.size or not head.startswith(b"OggS"):
            return
        *_, flags, _, stream, number, checksum, segments = _PAGE.unpack(head)
        lacing = file.read(segments)
        body = file.read(sum(lacing))
        taken += len(head) + len(lacing) + len(body)
        if _checksum(head[:22] + bytes(4) + head[26:] + lacing + body) != checksum:
            raise VorbisError("a page of its headers is damaged")
        if serial is None:
            serial, following = stream, number
        if stream != serial:
            continue
        if number != following or bool(flags & _CONTINUED) != bool(packet):
            raise VorbisError("a page of its headers is missing")
        following, place = number + 1, 0
        parts = [packet]
        for size in lacing:
            parts.append(body[place : place + size])
            place += size
            if size < 255:
                yield b"".join(parts)
                parts = []
        packet = b"".join(parts)
    raise VorbisError(f"its headers have more than {MAX_BYTES:,} bytes")


def _checksum(page: bytes) -> int:
    """Return OGG's CRC (polynomial 0x04C11DB7, not reflected), by zlib's on bit-reversed bytes."""
    reflected = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reflected.to_bytes(4).translate(_REVERSED)[::-1])


class _Bits:
    """Bit reader, lowest bit first; zeros after the end."""

    def __init__(self, data: bytes) -> None:
        self._data, self.place, self.end = data, 0, 8 * len(data)

    def take(self, bits: int) -> int:
        first, last = self.place >> 3, self.place + bits + 7 >> 3
        value = int.from_bytes(self._data[first:last], "little") >> (self.place & 7)
        self.place += bits
        return value & (1 << bits) - 1


@lru_cache(maxsize=16)  # the sounds of one encoder share a few
def _values(setup: bytes) -> int:
    """Return the sum over codebooks of entries times dimensions; parsing stops beyond the limit."""
    bits, total = _Bits(setup), 0
    bits.take(8 * 7)
    for _ in range(bits.take(8) + 1):
        if bits.take(24) != 0x564342:
            break
        dimensions, entries = bits.take(16), bits.take(24)
        total += entries * max(1, dimensions)
        if total > MAX_VALUES or bits.place > bits.end:
            break
        _skip_lengths(bits, entries)
        kind = bits.take(4)
        if kind in (1, 2):  # least and step as floats, bits of a value, whether they add up, the values
            bits.take(64)
            size = bits.take(4) + 1
            bits.take(1)
            bits.place += size * (_roots(entries, dimensions) if kind == 1 else entries * dimensions)
    return total


def _skip_lengths(bits: _Bits, entries: int) -> None:
    """Skip a codebook's codeword lengths."""
    if bits.take(1):  # in order: how many there are of each length
        bits.take(5)
        done = 0
        while done < entries and bits.place <= bits.end:
            done += bits.take((entries - done).bit_length())
    elif bits.take(1):  # some are not used
        for _ in range(entries):
            if bits.take(1):
                bits.place += 5
            elif bits.place > bits.end:
                break
    else:
        bits.place += 5 * entries


def _roots(entries: int, dimensions: int) -> int:
    """Return the greatest whole number whose power of `dimensions` is at most `entries` (section 9.2.3)."""
    if not dimensions or not entries:
        return 0
    root = int(entries ** (1 / dimensions))
    return root + 1 if (root + 1) ** dimensions <= entries else root
