"""Whatever a picture file holds, reading it ends soon, with pixels or with ImageError."""

import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import mutated
from pictures import small_files

from helicon.formats.image import SUFFIXES, ImageError, read_image

# Broken EXIF data and broken animations make Pillow warn; its warning of large pictures must never come
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning"),
]

SPECIAL = (
    b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\0", b"\xff\xff", b"\0\0", b"\0\1\0\0",
    b"IDAT", b"acTL", b"tRNS", b"\xff\xda", b"\xff\xd9",
)  # fmt: skip


def with_checksums(data: bytes) -> bytes:
    """A PNG file whose checksums are right again, so that what was changed is not refused for them alone."""
    out, at = bytearray(data), 8
    while at + 12 <= len(out) and (end := at + 8 + struct.unpack_from(">L", out, at)[0]) + 4 <= len(out):
        struct.pack_into(">L", out, end, zlib.crc32(out[at + 4 : end]))
        at = end + 4
    return bytes(out)


def check(path: Path, data: bytes, size: int | None) -> bool:
    """Reads within two seconds of CPU time; pixels come out, or ImageError of one line without the path."""
    path.write_bytes(data)
    start = time.process_time()
    try:
        pixels, _ = read_image(path, size)
        reason = ""
    except ImageError as error:
        pixels, reason = np.zeros((1, 1, 3), np.uint8), str(error)
        assert reason
    assert time.process_time() - start < 2
    assert "\n" not in reason
    assert path.stem not in reason
    assert "bomb" not in reason
    assert pixels.dtype == np.uint8
    assert pixels.size > 0
    assert pixels.shape[2:] == (3,)
    assert size is None or reason or pixels.shape[:2] == (size, size)
    return not reason


def fuzz(folder: Path, n: int) -> None:
    rng, files = np.random.default_rng(0), list(small_files().items())
    read = 0
    for i in range(n):
        name, data = files[i % len(files)]
        data = mutated(data, rng, SPECIAL)
        if name.endswith(".png") and rng.integers(4):
            data = with_checksums(data)
        read += check(folder / f"of-this-file{Path(name).suffix}", data, (None, 16)[rng.integers(2)])
    assert 0.1 * n < read < 0.9 * n  # both ways out are taken


def test_2000_mutations(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fuzz(tmp_path, 2000)


@pytest.mark.slow
def test_100_000_mutations(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fuzz(tmp_path, 100_000)


@pytest.mark.parametrize("name", small_files())
def test_every_beginning_of_a_file(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = small_files()[name]
    for end in range(0, len(data), max(1, len(data) // 40)):
        check(tmp_path / f"of-this-file{Path(name).suffix}", data[:end], None)


STARTS = (b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF\x40\0\0\0WEBPVP8 ", b"BM", b"II*\0", b"MM\0*")


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(STARTS), st.binary(max_size=200), st.sampled_from(SUFFIXES))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, start: bytes, data: bytes, suffix: str) -> None:
    check(tmp_path_factory.mktemp("fuzz") / f"of-this-file{suffix}", start + data, None)
