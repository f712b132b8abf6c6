"""Pictures that are cut short: the rows that are there are those of the whole file."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from pictures import saved
from PIL import Image, ImageFile

from helicon.formats import image as image_module
from helicon.formats.image import ImageError, read_image

TRUNCATED, MISSING = "truncated or broken pictures (read up to there)", "rows of pictures missing"
ROWS = 320
_colours = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
PICTURE = Image.fromarray(np.kron(_colours, np.ones((16, 16, 1), np.uint8)))  # squares, which compress well


def read(folder: Path, data: bytes, name: str, size: int | None = None) -> tuple[np.ndarray, dict[str, int]]:
    (folder / name).write_bytes(data)
    pixels, report = read_image(folder / name, size)
    return pixels, report.counts


@pytest.mark.parametrize("options", [{}, {"progressive": True}], ids=["baseline", "progressive"])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_without_its_end_has_all_pixels(tmp_path: Path, mode: str, options: dict) -> None:
    data = saved(PICTURE.convert(mode), "JPEG", **options)
    whole, _ = read(tmp_path, data, "a.jpg")
    pixels, counts = read(tmp_path, data[:-2], "a.jpg")
    np.testing.assert_array_equal(pixels, whole)
    assert counts == {TRUNCATED: 1}


@pytest.mark.parametrize(
    ("name", "mode", "options", "least"),
    [
        ("a.jpg", "RGB", {}, 140),
        ("a.jpg", "L", {}, 140),
        ("a.png", "RGB", {}, 140),
        ("a.png", "RGBA", {}, 140),
        ("a.png", "P", {}, 140),
        ("a.png", "1", {}, 140),
        ("a.gif", "RGB", {"interlace": 0}, 140),
        ("a.webp", "RGB", {}, 140),
        ("a.tif", "RGB", {}, 140),
    ],
    ids=lambda value: str(value),
)
def test_rows_before_the_cut(tmp_path: Path, name: str, mode: str, options: dict, least: int) -> None:
    format = {"jpg": "JPEG", "tif": "TIFF"}.get(name[2:], name[2:].upper())
    data = saved(PICTURE.convert(mode), format, **options)
    whole, _ = read(tmp_path, data, name)
    pixels, counts = read(tmp_path, data[: len(data) * 6 // 10], name)
    assert counts[TRUNCATED] == 1
    assert counts[MISSING] == ROWS - len(pixels)
    assert least <= len(pixels) < ROWS
    np.testing.assert_array_equal(pixels, whole[: len(pixels)])


def test_rows_of_a_bitmap_are_the_lower_ones(tmp_path: Path) -> None:
    data = saved(PICTURE, "BMP")
    pixels, _ = read(tmp_path, data[: len(data) * 6 // 10], "a.bmp")
    np.testing.assert_array_equal(pixels, np.asarray(PICTURE)[-len(pixels) :])


def test_gaps_of_an_interlaced_file_are_filled_from_above(tmp_path: Path) -> None:
    data = saved(PICTURE, "GIF", interlace=1)
    whole, _ = read(tmp_path, data, "a.gif")
    pixels, counts = read(tmp_path, data[: len(data) * 6 // 10], "a.gif")
    assert (len(pixels), counts[MISSING] > 100) == (ROWS - 1, True)  # the last row is of the last pass
    np.testing.assert_array_equal(pixels, whole[:-1])  # squares of 16 rows begin with rows of the first passes


def test_progressive_file_lacks_detail_but_no_rows(tmp_path: Path) -> None:
    data = saved(PICTURE, "JPEG", progressive=True)
    pixels, counts = read(tmp_path, data[: len(data) * 95 // 100], "a.jpg")
    assert counts == {TRUNCATED: 1}
    assert np.abs(pixels.astype(float) - np.asarray(PICTURE)).mean() < 16


def test_scaled_picture_is_of_the_rows_that_are_there(tmp_path: Path) -> None:
    halves = np.full((512, 512, 3), (255, 0, 0), np.uint8)
    halves[256:] = np.random.default_rng(0).integers(0, 256, (256, 512, 3))
    data = saved(Image.fromarray(halves), "JPEG")
    pixels, counts = read(tmp_path, data[: len(data) // 10], "a.jpg", size=16)  # decoded at an eighth
    assert (pixels.shape, counts[TRUNCATED]) == ((16, 16, 3), 1)
    assert np.abs(pixels[:8] - [254, 0, 0]).max() < 30


def test_a_sliver_is_refused(tmp_path: Path) -> None:
    for name, format in (("a.png", "PNG"), ("a.jpg", "JPEG"), ("a.webp", "WEBP")):
        data = saved(PICTURE, format, quality=20)
        with pytest.raises(ImageError, match=f"a broken {format} file: .* are there"):
            read(tmp_path, data[: max(len(data) // 10, 640)] if format == "JPEG" else data[: len(data) // 10], name)


def test_pillows_switch_stays(tmp_path: Path) -> None:
    data = saved(PICTURE, "JPEG")
    read(tmp_path, data[:-2], "a.jpg")
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_large_jpeg_is_decoded_at_a_fraction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As pictures of 108 and 200 megapixels are; one that is asked for at its size is refused."""
    monkeypatch.setattr(image_module, "MAX_PIXELS", 50_000)
    data = saved(PICTURE, "JPEG", quality=95)
    large, counts = read(tmp_path, data, "a.jpg", size=160)
    assert counts == {"large pictures decoded at a fraction": 1}
    assert np.abs(large.astype(float) - np.asarray(PICTURE.resize((160, 160)))).mean() < 5


def test_jpeg_of_more_pixels_is_refused(tmp_path: Path) -> None:
    data = bytearray(saved(PICTURE, "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = (12_000).to_bytes(2) + (16_000).to_bytes(2)
    start = time.process_time()
    assert read(tmp_path, bytes(data), "a.jpg", size=32)[1] == {"large pictures decoded at a fraction": 1}
    assert time.process_time() - start < 2
    with pytest.raises(ImageError, match=r"16,000 x 12,000 pixels are more .* 64,000,000 in all"):
        read(tmp_path, bytes(data), "a.jpg")
    data[at : at + 4] = (16_000).to_bytes(2) * 2
    with pytest.raises(ImageError, match=r"16,000 x 16,000 pixels are more .* 250,000,000 in all"):
        read(tmp_path, bytes(data), "a.jpg", size=32)


def test_large_jpeg_of_several_scans_is_refused(tmp_path: Path) -> None:
    """Its coefficients, all of which libjpeg keeps, are 2 bytes each."""
    data = bytearray(saved(PICTURE, "JPEG", progressive=True))
    at = data.index(b"\xff\xc2") + 5
    data[at : at + 4] = (12_000).to_bytes(2) + (16_000).to_bytes(2)
    with pytest.raises(ImageError, match="in several scans, take more than 240,000,000 bytes"):
        read(tmp_path, bytes(data), "a.jpg", size=32)
