"""Colours follow the profile of their file."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from pictures import saved
from PIL import Image, ImageCms

from helicon.formats import image_profiles
from helicon.formats.image import read_image

APPLIED, IGNORED = "pictures converted to sRGB by their colour profiles", "broken colour profiles ignored"
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))  # XYZ of R, G, B, D50
P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
WHITE = (0.9642, 1.0, 0.8249)


def fixed(*numbers: float) -> bytes:
    return b"".join(struct.pack(">l", round(number * 65536)) for number in numbers)


def profile(space: bytes, gamma: float, *primaries: tuple[float, ...]) -> bytes:
    """An ICC profile of three primaries, or of grey, with one gamma."""
    curve = b"curv" + bytes(4) + struct.pack(">LH", 1, round(gamma * 256)) + bytes(2)
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">L", 5) + b"test\0" + bytes(83)}
    tags[b"wtpt"] = b"XYZ " + bytes(4) + fixed(*WHITE)
    for name, primary in zip((b"r", b"g", b"b"), primaries):
        tags[name + b"XYZ"], tags[name + b"TRC"] = b"XYZ " + bytes(4) + fixed(*primary), curve
    if not primaries:
        tags[b"kTRC"] = curve
    directory, body = struct.pack(">L", len(tags)), b""
    for name, content in tags.items():
        directory += name + struct.pack(">LL", 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(">L4sL4s4s4s", 0, bytes(4), 0x02400000, b"mntr", space, b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + fixed(*WHITE) + bytes(48)
    return struct.pack(">L", 132 + len(directory) - 4 + len(body)) + header[4:] + directory + body


def by_hand(rgb: tuple[int, ...], gamma: float, primaries: tuple[tuple[float, ...], ...]) -> np.ndarray:
    """The colour in sRGB by its definition (IEC 61966-2-1), adapted to D50 as profiles are."""
    srgb = np.array([[0.43607, 0.22249, 0.01392], [0.38515, 0.71687, 0.09708], [0.14307, 0.06061, 0.71410]])
    linear = (np.array(rgb) / 255) ** gamma @ np.array(primaries) @ np.linalg.inv(srgb)
    linear = linear.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def read(folder: Path, data: bytes, name: str = "a.png", size: int | None = None) -> tuple[np.ndarray, dict[str, int]]:
    (folder / name).write_bytes(data)
    pixels, report = read_image(folder / name, size)
    return pixels, report.counts


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize(("primaries", "gamma"), [(ADOBE, 563 / 256), (P3, 2.2)], ids=["Adobe RGB", "P3"])
def test_colours_follow_the_profile(tmp_path: Path, primaries: tuple, gamma: float, format: str) -> None:
    icc = profile(b"RGB ", gamma, *primaries)
    options = {"lossless": True} if format == "WEBP" else {}
    data = saved(Image.new("RGB", (8, 8), (200, 60, 40)), format, icc_profile=icc, **options)
    pixels, counts = read(tmp_path, data, f"a.{format[:4].lower()}", size=4)
    assert np.abs(pixels - by_hand((200, 60, 40), gamma, primaries)).max() <= 2
    assert np.abs(pixels.astype(int) - (200, 60, 40)).max() > 10
    assert counts == {APPLIED: 1}


def test_grey_follows_its_profile_and_alpha_stays(tmp_path: Path) -> None:
    icc = profile(b"GRAY", 1.0)
    linear = saved(Image.new("L", (8, 8), 55), "PNG", icc_profile=icc)
    assert np.abs(read(tmp_path, linear)[0].astype(int) - 128).max() <= 1  # 55 / 255 = .216 of the light
    half = Image.new("LA", (2, 1), (55, 255))
    half.putpixel((1, 0), (55, 0))
    pixels, counts = read(tmp_path, saved(half, "PNG", icc_profile=icc))
    assert (np.abs(pixels[0, 0].astype(int) - 128).max() <= 1, pixels[0, 1].tolist()) == (True, [255, 255, 255])
    assert counts == {APPLIED: 1, "alpha composed on white": 1}


def test_srgb_is_left_alone(tmp_path: Path) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    colours = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    pixels, counts = read(tmp_path, saved(Image.fromarray(colours), "PNG", icc_profile=icc))
    np.testing.assert_array_equal(pixels, colours)
    assert counts == {}


@pytest.mark.parametrize(
    ("mode", "icc"),
    [
        ("RGB", b"no profile"),
        ("RGB", profile(b"RGB ", 2.2, *ADOBE)[:200]),
        ("CMYK", profile(b"RGB ", 2.2, *ADOBE)),
        ("RGB", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()),
    ],
    ids=["garbage", "cut", "of other colours", "of Lab"],
)
def test_broken_profiles_are_ignored_and_counted(tmp_path: Path, mode: str, icc: bytes) -> None:
    image = Image.new(mode, (8, 8), (200, 60, 40, 0)[: len(mode)])
    plain, _ = read(tmp_path, saved(image, "TIFF"), "a.tif")
    pixels, counts = read(tmp_path, saved(image, "TIFF", icc_profile=icc), "a.tif")
    np.testing.assert_array_equal(pixels, plain)
    assert counts == {IGNORED: 1}


def test_a_profile_that_is_too_large_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_profiles, "MAX_PROFILE", 100)
    data = saved(Image.new("RGB", (8, 8), (201, 60, 40)), "PNG", icc_profile=profile(b"RGB ", 2.3, *ADOBE))
    assert read(tmp_path, data)[1] == {IGNORED: 1}
