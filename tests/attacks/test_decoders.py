"""Media of strangers that libraries read, small and made to take long, or much memory: each is read or refused at once."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from harness import Outcome, attempt, posix
from PIL import Image

from helicon.formats.vorbis import MOST_VALUES, _checksum, _packets
from helicon.modalities import registry

pytestmark = posix


def read(medium: str, path: Path, data: bytes) -> Outcome:
    """How reading a file of these bytes ends."""
    path.write_bytes(data)
    return attempt(lambda: type(registry.get(medium).read(path)[0]).__name__)


# --- Vorbis: a codebook states how many entries it has, whatever its size


def page(number: int, flags: int, *packets: bytes) -> bytes:
    """A page of OGG."""
    lacing = bytes(size for packet in packets for size in (*[255] * (len(packet) // 255), len(packet) % 255))
    head = struct.pack("<4sBBqLLLB", b"OggS", 0, flags, 0, 1, number, 0, len(lacing))
    whole = head + lacing + b"".join(packets)
    return whole[:22] + struct.pack("<L", _checksum(whole)) + whole[26:]


def vorbis(books: int, entries: int, dimensions: int = 1) -> bytes:
    """An OGG file of codebooks whose words are all of one length."""
    bits: list[int] = []

    def put(value: int, size: int) -> None:
        bits.extend(value >> i & 1 for i in range(size))

    put(books - 1, 8)
    for _ in range(books):
        put(0x564342, 24)
        put(dimensions, 16)
        put(entries, 24)
        put(1, 1)
        put(entries.bit_length() - 1, 5)
        put(entries, entries.bit_length())
        put(0, 4)
    setup = np.packbits(bits, bitorder="little").tobytes()
    file = io.BytesIO()
    soundfile.write(file, np.zeros(400), 8000, format="OGG", subtype="VORBIS")
    file.seek(0)
    packets = _packets(file)
    first, comments = next(packets), next(packets)
    return page(0, 2, first) + page(1, 0, comments, b"\x05vorbis" + setup) + bytes(100)


def test_codebooks_of_many_entries(tmp_path: Path) -> None:
    for data in (vorbis(256, (1 << 23) - 1), vorbis(200, 60_000), vorbis(1, 3, 65_535), vorbis(100, 3, 65_535)):
        ended = read("audio", tmp_path / "a.ogg", data)
        ended.is_refusal(f"{MOST_VALUES:,}" if len(data) > 500 else "a broken OGG file")
        assert ended.kind == "AudioError"
        assert ended.megabytes < 50
