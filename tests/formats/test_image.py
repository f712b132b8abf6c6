"""Picture files of every kind, their pixels written out; and what is refused."""

import os
import struct
import time
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pictures import RGB, B, G, K, R, W, assert_close, png, read, saved, small_files, tiff
from PIL import Image

from helicon.formats import image as image_module
from helicon.formats.image import MAX_BYTES, ImageError, read_image, write_image


def test_a_png_of_16_pixels(tmp_path: Path) -> None:
    file = png(
        4, 4, 8, RGB,
        "FF0000 00FF00 0000FF FFFFFF /"
        "000000 FF0000 00FF00 0000FF /"
        "FFFFFF 000000 FF0000 00FF00 /"
        "0000FF FFFFFF 000000 123456",
    )  # fmt: skip
    assert read(tmp_path, file) == ([[R, G, B, W], [K, R, G, B], [W, K, R, G], [B, W, K, [0x12, 0x34, 0x56]]], {})


@pytest.mark.parametrize(("name", "format"), [("a.gif", "GIF"), ("a.webp", "WEBP"), ("a.png", "PNG")])
def test_first_frame_of_an_animation(tmp_path: Path, name: str, format: str) -> None:
    red, blue = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (16, 16), "blue")
    options = {"lossless": True} if format == "WEBP" else {}
    file = saved(red, format, save_all=True, append_images=[blue, red], duration=100, **options)
    assert read(tmp_path, file, name) == ([[R] * 16] * 16, {"first frame of an animation": 1})


def test_first_page_of_a_tiff_file(tmp_path: Path) -> None:
    red, blue = Image.new("RGB", (2, 1), "red"), Image.new("RGB", (3, 1), "blue")
    file = saved(red, "TIFF", save_all=True, append_images=[blue])
    assert read(tmp_path, file, "a.tif") == ([[R, R]], {"first page of several": 1})


def test_large_jpeg_decoded_small_looks_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a level on average, of pictures of rings that grow ever finer: more detail than photographs have."""
    y, x = np.mgrid[0:1000, 0:1537]
    rings = (127.5 + 127.5 * np.cos((x**2 + y**2) / 900)).astype(np.uint8)
    Image.fromarray(rings).convert("RGB").save(tmp_path / "a.jpg", quality=95)
    fast = read_image(tmp_path / "a.jpg", 32)[0]
    monkeypatch.setattr(image_module, "DRAFT", 10**6)
    whole = read_image(tmp_path / "a.jpg", 32)[0]
    assert 0 < np.abs(fast.astype(float) - whole).mean() < 0.5


def test_jpeg_decoded_small_keeps_its_extent(tmp_path: Path) -> None:
    """Of 257 pixels an eighth is 32.125, not the 33 that are decoded."""
    ramp = np.broadcast_to(np.arange(257)[:, None] * 255 / 256, (257, 257)).astype(np.uint8)
    file = saved(Image.fromarray(ramp), "JPEG", quality=95)
    found = np.array(read(tmp_path, file, "a.jpg", size=8)[0])[:, 4, 0]
    assert_close(found, [16, 48, 80, 112, 143, 175, 207, 239], within=2)


@pytest.mark.parametrize("size", [0, -1, 8001])
def test_sizes_that_make_no_sense_are_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(ValueError, match="1 to 8000 are accepted"):
        read(tmp_path, png(1, 1, 8, RGB, "FF0000"), size=size)


def test_many_threads_read_the_same(tmp_path: Path) -> None:
    for name, data in small_files().items():
        (tmp_path / name).write_bytes(data)
    paths = sorted(tmp_path.iterdir()) * 5
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda path: read_image(path, 16)[0], paths))
    for path, pixels in zip(paths, together):
        np.testing.assert_array_equal(pixels, read_image(path, 16)[0])


RED = Image.new("RGB", (4, 4), "red")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".webp", ".bmp", ".gif"])
def test_pictures_of_the_web_may_be_named_as_each_other(tmp_path: Path, format: str, suffix: str) -> None:
    assert_close(read(tmp_path, saved(RED, format), "a" + suffix)[0], [[R] * 4] * 4, within=2)


@pytest.mark.filterwarnings("ignore:Truncated File Read")
@pytest.mark.parametrize(
    ("data", "name", "reason"),
    [
        (b"", "a.png", "the file is empty"),
        (b"hello", "a.jpg", "not a picture file: accepted under that name: PNG, JPEG, WEBP, GIF, BMP"),
        (saved(RED, "TIFF"), "a.png", "a TIFF file named .png: accepted under that name: PNG"),
        (saved(RED, "EPS"), "a.png", r"a PostScript \(EPS\) file named .png"),
        (saved(RED, "EPS"), "a.tif", r"a PostScript \(EPS\) file named .tif: accepted under that name: TIFF"),
        (saved(RED, "PNG"), "a.tiff", "a PNG file named .tiff"),
        (b"<!DOCTYPE html><title>404 Not Found</title>", "a.jpg", "a web page or SVG file named .jpg"),
        (b"\0\0\0\x20ftypisom\0\0\0\0", "a.jpg", r"a video \(MPEG-4\) file named .jpg"),
        (saved(RED, "PNG"), "a.psd", r"suffix '.psd': .png .* .tiff.* are accepted; export as .png"),
        (saved(RED, "PNG"), "a", "suffix ''"),
        (png(0, 1, 8, RGB, ""), "a.png", "a broken PNG file: its header describes no picture"),
        (saved(RED, "BMP").replace(struct.pack("<ll", 4, 4), bytes(8)), "a.bmp", "its header describes no picture"),
        (saved(RED, "GIF")[:9], "a.gif", "a broken GIF file: it ends early"),
        (saved(RED, "PNG")[:-40], "a.png", "a broken PNG file: "),
        (saved(RED, "TIFF")[:100], "a.tif", "a broken TIFF file: "),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_what_is_refused_is_named(tmp_path: Path, data: bytes, name: str, reason: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ImageError, match=reason) as error:
        read_image(tmp_path / name)
    assert "\n" not in str(error.value)
    assert str(tmp_path) not in str(error.value)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("name", ["lossless.webp", "raw.tif", "lzw.tif"])
def test_half_a_file_without_pixels_is_refused(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    data = small_files()[name]
    with pytest.raises(ImageError, match="a broken"):
        read(tmp_path, data[: len(data) // 2], name)


def test_files_of_too_many_bytes_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    os.truncate(tmp_path / "a.png", MAX_BYTES + 1)
    with pytest.raises(ImageError, match="200,000,001 bytes are more than the 200,000,000 that"):
        read_image(tmp_path / "a.png")


def test_what_cannot_be_opened_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "a.png")
    (tmp_path / "b.png").mkdir()
    with pytest.raises(IsADirectoryError if os.name == "posix" else PermissionError):
        read_image(tmp_path / "b.png")


HUGE_PNG = png(100_000, 100_000, 8, RGB, "FF0000")
HUGE_GIF = saved(RED, "GIF").replace(struct.pack("<HHHH", 0, 0, 4, 4), struct.pack("<HHHH", 0, 0, 10_000, 9_500))
HUGE_BMP = saved(RED, "BMP").replace(struct.pack("<ll", 4, 4), struct.pack("<ll", 100_000, 100_000))
HUGE_JPEG = saved(RED, "JPEG").replace(struct.pack(">HH", 4, 4), struct.pack(">HH", 65_500, 65_500))
FLICKER = saved(RED, "WEBP", save_all=True, append_images=[RED.rotate(90), Image.new("RGB", (4, 4))], duration=100)
WIDE_WEBP, HUGE_WEBP = (  # width and height less 1, in 24 bits each
    FLICKER[:24] + struct.pack("<L", width - 1)[:3] + struct.pack("<L", height - 1)[:3] + FLICKER[30:]
    for width, height in [(12_000, 9_000), (16_383, 16_383)]
)
HUGE_TILES = tiff(4, 4, saved(RED, "PNG"), t259=8, t322=50_000, t323=50_000, t324=8, t325=64)


@pytest.mark.parametrize(
    ("data", "name", "size"),
    [
        (HUGE_PNG, "a.png", "100,000 x 100,000"),
        (png(12_000, 9_000, 8, RGB, "FF0000"), "a.png", "12,000 x 9,000"),  # Pillow would only warn
        (png(70_000, 1, 8, RGB, "FF0000"), "a.png", "70,000 x 1"),
        (HUGE_GIF, "a.gif", "10,000 x 9,500"),
        (HUGE_BMP, "a.bmp", "100,000 x 100,000"),
        (HUGE_JPEG, "a.jpg", "65,500 x 65,500"),
        (WIDE_WEBP, "a.webp", "12,000 x 9,000"),
        (HUGE_WEBP, "a.webp", ""),  # which Pillow refuses as it opens it
        (tiff(100_000, 100_000, bytes(12)), "a.tif", "100,000 x 100,000"),
        (HUGE_TILES, "a.tif", "50,000 x 50,000"),
    ],
    ids=[
        "PNG",
        "PNG that Pillow warns of",
        "row",
        "GIF frame",
        "BMP",
        "JPEG",
        "wide WEBP",
        "WEBP",
        "TIFF",
        "TIFF tiles",
    ],
)
def test_huge_pictures_are_refused_at_once(tmp_path: Path, data: bytes, name: str, size: str) -> None:
    (tmp_path / name).write_bytes(data)
    start = time.process_time()
    tracemalloc.start()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match=f"{size}.*more .*than a picture may have, (64|250),000,000"):
            read_image(tmp_path / name, 32)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 5e6
    assert time.process_time() - start < 0.5


def test_written_pictures_read_back(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (17, 5, 3), dtype=np.uint8)
    for name in ("a.png", "b.png"):
        write_image(pixels[:, ::-1][:, ::-1], tmp_path / name)
    found, report = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(found, pixels)
    assert report.counts == {}
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)],
    ids=["float", "grey", "alpha", "empty"],
)
def test_only_pixels_are_written(tmp_path: Path, pixels: np.ndarray) -> None:
    (tmp_path / "a.png").write_bytes(b"old")
    with pytest.raises(ValueError, match=r"uint8 \[H, W, 3\] is accepted"):
        write_image(pixels, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == b"old"


def test_sample_of_real_files(shared_data: Path) -> None:
    paths = sorted([*shared_data.glob("images/*/*/*.png"), *shared_data.glob("pairs/*/**/*.png")])
    assert len(paths) > 9000
    for path in paths[::60]:
        pixels, _ = read_image(path)
        rgba = np.asarray(Image.open(path).convert("RGBA")).astype(float)
        alpha = rgba[..., 3:] / 255
        assert_close(pixels, alpha * rgba[..., :3] + (1 - alpha) * 255, within=1)
        assert read_image(path, 32)[0].shape == (32, 32, 3)


def test_what_a_library_says_of_a_broken_file_does_not_reach_the_terminal(tmp_path, capfd):
    grey = np.arange(90, dtype=np.uint8).reshape(9, 10)
    whole = saved(Image.fromarray(grey), "TIFF", compression="tiff_lzw")
    (tmp_path / "a.tif").write_bytes(whole[:8] + b"\xff" * 40 + whole[48:])
    with pytest.raises(ImageError):
        read_image(tmp_path / "a.tif")
    assert capfd.readouterr().err == ""
