"""Whatever a sound file holds, reading it ends soon and in bounded memory, with samples or with AudioError."""

import struct
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import mutated
from sounds import small_files

from helicon.formats.audio import SUFFIXES, AudioError, read_audio

# What goes wrong in a callback of libsndfile's is printed, and seen by pytest only
pytestmark = pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")

SPECIAL = (
    b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\0\0\0", b"\0\0\0\0", b"\xff\xff", b"\0\0",
    b"\0\1\0\0", b"fmt ", b"data", b"LIST", b"OggS", b"fLaC", b"ID3\3", b"\xff\xfb", b"SSND",
)  # fmt: skip
MOST_KIB = 150_000  # that memory may grow by over all files, most of it what is allocated once


@cache
def checksum_table() -> list[int]:
    """What each byte does to the checksum of a page of OGG: a CRC of polynomial 0x04C11DB7, nothing reflected."""
    table = []
    for byte in range(256):
        crc = byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 1 << 31 else 0)) & 0xFFFFFFFF
        table.append(crc)
    return table


def with_checksums(data: bytes) -> bytes:
    """An OGG file whose checksums are right again, so that what was changed is not refused for them alone."""
    out, at = bytearray(data), data.find(b"OggS")
    while at >= 0 and at + 27 <= len(out):
        segments = out[at + 26]
        end = at + 27 + segments + sum(out[at + 27 : at + 27 + segments])
        out[at + 22 : at + 26] = bytes(4)
        crc = 0
        for byte in out[at:end]:
            crc = (crc << 8 & 0xFFFFFFFF) ^ checksum_table()[crc >> 24 ^ byte]
        struct.pack_into("<L", out, at + 22, crc)
        at = out.find(b"OggS", end)
    return bytes(out)


def test_checksums_of_an_honest_file_are_as_they_were() -> None:
    assert with_checksums(small_files()["vorbis.ogg"]) == small_files()["vorbis.ogg"]


def check(path: Path, data: bytes, rate: int | None) -> bool:
    """Reads within two seconds of CPU time; samples in [-1, 1] come out, or AudioError of one line without the path."""
    path.write_bytes(data)
    start = time.process_time()
    try:
        samples, reason = read_audio(path, rate)[0].samples, ""
    except AudioError as error:
        samples, reason = np.zeros((1, 1), np.float32), str(error)
        assert reason
    assert time.process_time() - start < 2
    assert "\n" not in reason
    assert path.stem not in reason
    assert samples.dtype == np.float32
    assert samples.ndim == 2
    assert samples.shape[1] == 1
    assert len(samples) > 0
    assert np.abs(samples).max() <= 1  # not so of NaN
    return not reason


def fuzz(folder: Path, n: int) -> None:
    resource = pytest.importorskip("resource")
    rng, files = np.random.default_rng(0), list(small_files().items())
    for name, data in files:  # what is allocated once is
        check(folder / f"of-this-file{Path(name).suffix}", data, 16_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read = 0
    for i in range(n):
        name, data = files[i % len(files)]
        data = mutated(data, rng, SPECIAL)
        if name.endswith((".ogg", ".opus")) and rng.integers(4):
            data = with_checksums(data)
        read += check(folder / f"of-this-file{Path(name).suffix}", data, (None, 16_000)[rng.integers(2)])
    assert 0.1 * n < read < 0.9 * n  # both ways out are taken
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < MOST_KIB * (1 if sys.platform == "linux" else 1024)


def test_800_mutations(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fuzz(tmp_path, 800)
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_100_000_mutations(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fuzz(tmp_path, 100_000)


@pytest.mark.parametrize("name", small_files())
def test_every_beginning_of_a_file(name: str, tmp_path: Path) -> None:
    data = small_files()[name]
    for end in range(0, len(data), max(1, len(data) // 40)):
        check(tmp_path / f"of-this-file{Path(name).suffix}", data[:end], None)


STARTS = (
    b"", b"RIFF\x40\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0", b"fLaC\0\0\0\x22", b"OggS\0\2", b"ID3\3\0\0\0\0\0\0",
    b"\xff\xfb\x90\x44", b"FORM\0\0\1\0AIFFCOMM\0\0\0\x12", b".snd\0\0\0\x18", b"caff\0\1\0\0desc",
    b"riff.\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0",
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(STARTS), st.binary(max_size=200), st.sampled_from(SUFFIXES))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, start: bytes, data: bytes, suffix: str) -> None:
    check(tmp_path_factory.mktemp("fuzz") / f"of-this-file{suffix}", start + data, None)
