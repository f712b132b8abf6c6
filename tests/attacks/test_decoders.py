"""Media of strangers that libraries read, small and made to take long, or much memory: read or refused at once."""

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

from helicon.formats.vorbis import MAX_VALUES, _checksum, _packets
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
        ended.is_refusal(f"{MAX_VALUES:,}" if len(data) > 500 else "a broken OGG file")
        assert ended.kind == "AudioError"
        assert ended.megabytes < 50


# --- Pictures: Pillow takes parts one by one, in Python


def saved(format: str, **options: object) -> bytes:
    """A small picture."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(file, format, **options)
    return file.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">L", len(body)) + name + body + struct.pack(">L", zlib.crc32(name + body))


def with_chunks(chunks: bytes) -> bytes:
    whole = saved("PNG")
    return whole[:33] + chunks + whole[33:]


def with_segments(segments: bytes) -> bytes:
    return b"\xff\xd8" + segments + saved("JPEG")[2:]


def with_blocks(before: bytes, after: bytes = b"") -> bytes:
    """A GIF with something before its frame, and among the blocks of that."""
    whole = saved("GIF")
    start = 13 + (3 << (whole[10] & 7) + 1)
    return whole[:start] + before + whole[start:-2] + after + whole[-2:]


def bmp(width: int, height: int, packed: bytes) -> bytes:
    """A BMP packed by lengths of runs."""
    head = struct.pack("<LllHHLLllLL", 40, width, height, 1, 8, 1, len(packed), 0, 0, 256, 0) + bytes(1024)
    return b"BM" + struct.pack("<LHHL", 14 + len(head) + len(packed), 0, 0, 14 + len(head)) + head + packed


def rational_resolution(segments: int) -> bytes:
    """EXIF data, in so many segments of JPEG, with a resolution of as many numbers as fit: Pillow looks at two."""
    count = segments * 8000
    table = struct.pack("<HHHIIHHIII", 2, 0x11A, 5, count, 38, 0x128, 3, 1, 2, 0)
    whole = b"II*\0" + struct.pack("<I", 8) + table + b"\1" * 8 * count
    parts = [whole[i : i + 65_000] for i in range(0, len(whole), 65_000)]
    return b"".join(b"\xff\xe1" + struct.pack(">H", 8 + len(part)) + b"Exif\0\0" + part for part in parts)


def tiff(*more: tuple[int, int, int, int], directory: tuple[int, int, int, int] | None = None, count: int = 0) -> bytes:
    """A TIFF with more tags, as (tag, type, count, place), another directory of one at 300, and bytes from 400 on."""
    tags = {256: (3, 1, 8), 257: (3, 1, 8), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1), 273: (4, 1, 8),
            278: (4, 1, 8), 279: (4, 1, 64), **{tag: rest for tag, *rest in more}}  # fmt: skip
    table = b"".join(struct.pack("<HHII", tag, *tags[tag]) for tag in sorted(tags)) + bytes(4)
    head = (b"II*\0" + struct.pack("<IH", 8, len(tags)) + table).ljust(300, b"\0")
    other = struct.pack("<HHHII", 1, *directory) + bytes(4) if directory else b""
    return (head + other).ljust(400, b"\0") + b"\1" * count


PICTURES: dict[str, Callable[[], bytes]] = {
    "profiles.png": lambda: with_chunks(chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1 << 20))) * 5000),
    "texts.png": lambda: with_chunks(chunk(b"tEXt", b"a\0b") * 700_000),
    "empty.png": lambda: with_chunks(chunk(b"IDAT", b"") * 800_000),
    "exif.jpg": lambda: with_segments((b"\xff\xe1\x01\x00Exif\0\0" + bytes(248)) * 40_000),
    "resolution.jpg": lambda: with_segments(rational_resolution(17)),
    "comments.jpg": lambda: with_segments(b"\xff\xfe\0\2" * 2_500_000),
    "fill.jpg": lambda: with_segments(b"\xff" * 10_000_000),
    "both.jpg": lambda: with_segments((b"\xff" * 60_000 + b"\0") * 50),
    "stray.jpg": lambda: with_segments(b"\xff\0" * 5_000_000),
    "stray.gif": lambda: with_blocks(bytes(20_000_000)),
    "extensions.gif": lambda: with_blocks(b"!\xf9\4\0\0\0\0\0" * 3_000_000),
    "comments.gif": lambda: with_blocks(b"!\xfe" + b"\1x" * 5_000_000 + b"\0"),
    "blocks.gif": lambda: with_blocks(b"", b"\1\0" * 8_000_000),
    "rows.bmp": lambda: bmp(60_000, 1000, b"\1\5\0\0" * 1000 + b"\0\1"),
    "strips.tif": lambda: tiff((273, 4, 65_537, 400), (278, 4, 1, 1), (279, 4, 65_537, 400), count=300_000),
    "orientation.tif": lambda: tiff((274, 5, 65_537, 400), count=600_000),
    "nothing.bmp": lambda: bmp(3000, 1000, b"\0\2\0\0" * 5_000_000),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_of_many_parts(name: str, tmp_path: Path) -> None:
    ended = read("image", tmp_path / name, PICTURES[name]())
    ended.is_refusal("more than")
    assert ended.kind == "ImageError"
    assert ended.megabytes < 100


@pytest.mark.parametrize("pointer", [34665, 34853])
def test_directories_of_a_tiff_that_say_nothing_of_pixels_are_not_read(tmp_path: Path, pointer: int) -> None:
    """EXIF's and GPS's: Pillow made fractions of all numbers in them, as it closed the file."""
    data = tiff((pointer, 4, 1, 300), directory=(33434, 5, 1_000_000, 400), count=8_000_000)
    ended = read("image", tmp_path / "a.tif", data)
    assert (ended.value, ended.error) == ("'ndarray'", "")
    assert ended.seconds < 1
    assert ended.megabytes < 100


def test_pictures_of_some_parts_are_read(tmp_path: Path) -> None:
    profile = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(1 << 20)))
    for name, data in {
        "a.png": with_chunks(profile + chunk(b"tEXt", b"a\0b") * 1000),
        "a.jpg": with_segments(
            (b"\xff\xe1\x01\x00Exif\0\0" + bytes(248)) * 15 + b"\xff\xfe\0\2" * 1000 + b"\xff" * 1000
        ),
        "a.gif": with_blocks(b"!\xfe" + b"\1x" * 50_000 + b"\0" + bytes(1000), b"\1\0" * 10_000),
        "a.bmp": bmp(1000, 900, b"\1\5\0\0" * 900 + b"\0\1"),
    }.items():
        ended = read("image", tmp_path / name, data)
        assert (ended.value, ended.error) == ("'ndarray'", "")
        ended.is_cheap()
