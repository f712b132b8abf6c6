"""What a file says about its pixels, in every mode, and what they become."""

from pathlib import Path

import numpy as np
import pytest
from pictures import GREY, GREY_ALPHA, PALETTE, RGB, RGBA, B, G, K, R, W, assert_close, exif, png, read, saved, tiff
from PIL import Image, ImageOps

from helicon.formats.image import ImageError, read_image


def grey(*levels: int) -> list[list[int]]:
    """One row of grey pixels."""
    return [[level] * 3 for level in levels]


@pytest.mark.parametrize(
    ("bits", "row", "levels"),
    [
        (1, "A0", [255, 0, 255, 0]),
        (2, "1B", [0, 85, 170, 255]),
        (4, "05 AF", [0, 85, 170, 255]),
        (8, "00 01 80 FF", [0, 1, 128, 255]),
    ],
)
def test_grey_of_up_to_8_bits(tmp_path: Path, bits: int, row: str, levels: list[int]) -> None:
    assert read(tmp_path, png(4, 1, bits, GREY, row)) == ([grey(*levels)], {})


def test_grey_of_16_bits_is_scaled_and_rounded(tmp_path: Path) -> None:
    file = png(4, 1, 16, GREY, "0000 00FF 8080 FFFF")
    assert read(tmp_path, file) == ([grey(0, 1, 128, 255)], {"16-bit grey scaled to 8 bits": 1})


def test_colour_of_16_bits(tmp_path: Path) -> None:
    file = png(2, 1, 16, RGB, "FFFF 0000 8080  1234 5678 9ABC")
    assert read(tmp_path, file) == ([[[255, 0, 128], [0x12, 0x56, 0x9A]]], {})


def test_palette(tmp_path: Path) -> None:
    file = png(4, 1, 2, PALETTE, "1B", (b"PLTE", "FF0000 00FF00 0000FF FFFFFF"))
    assert read(tmp_path, file) == ([[R, G, B, W]], {})


@pytest.mark.parametrize(
    ("file", "pixels"),
    [
        (png(3, 1, 8, RGBA, "FF0000FF FF000080 00FF0000"), [R, [255, 127, 127], W]),
        (png(2, 1, 16, RGBA, "FFFF00000000FFFF 0000FFFF00000000"), [R, W]),
        (png(3, 1, 8, GREY_ALPHA, "00FF 0080 0000"), grey(0, 127, 255)),
        (png(2, 1, 16, GREY_ALPHA, "0000FFFF 00000000"), grey(0, 255)),
        (png(4, 1, 2, PALETTE, "1B", (b"PLTE", "FF0000 00FF00 0000FF 000000"), (b"tRNS", "FF00")), [R, W, B, K]),
        (png(2, 1, 2, PALETTE, "1B", (b"PLTE", "FF0000 0000FF"), (b"tRNS", "80")), [[255, 127, 127], B]),
        (png(4, 1, 1, GREY, "A0", (b"tRNS", "0000")), grey(255, 255, 255, 255)),
        (png(4, 1, 2, GREY, "1B", (b"tRNS", "0001")), grey(0, 255, 170, 255)),
        (png(4, 1, 4, GREY, "05AF", (b"tRNS", "000A")), grey(0, 85, 255, 255)),
        (png(3, 1, 8, GREY, "001020", (b"tRNS", "0010")), grey(0, 255, 32)),
        (png(3, 1, 16, GREY, "0000 1020 FFFF", (b"tRNS", "0000")), grey(255, 16, 255)),
        (png(2, 1, 8, RGB, "FF0000 0000FF", (b"tRNS", "00FF00000000")), [W, B]),
        (png(2, 1, 16, RGB, "123456789ABC 00000000FFFF", (b"tRNS", "123456789ABC")), [W, B]),
    ],
    ids=[
        "colour", "16-bit colour", "grey", "16-bit grey", "one of a palette", "part of a palette", "1-bit grey",
        "2-bit grey", "4-bit grey", "8-bit grey", "one grey of 16 bits", "one colour", "one colour of 16 bits",
    ],
)  # fmt: skip
def test_transparent_parts_are_white(tmp_path: Path, file: bytes, pixels: list) -> None:
    found, counts = read(tmp_path, file)
    assert found == [pixels]
    assert counts["alpha composed on white"] == 1


def test_transparent_gif(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    picture.putpalette([*R, *G, *B])
    assert read(tmp_path, saved(picture, "GIF", transparency=1), "a.gif") == (
        [[R, W, B]],
        {"alpha composed on white": 1},
    )


def test_alpha_that_hides_nothing_is_not_counted(tmp_path: Path) -> None:
    assert read(tmp_path, png(2, 1, 8, RGBA, "FF0000FF 0000FFFF")) == ([[R, B]], {})


def test_alpha_is_composed_as_the_formula_says(tmp_path: Path) -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (50, 50, 4), dtype=np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    colour, alpha = rgba[..., :3] / 255, rgba[..., 3:] / 255
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.png")[0], np.rint(255 * (alpha * colour + 1 - alpha)).astype(np.uint8)
    )


def test_hidden_colours_do_not_show_when_scaled(tmp_path: Path) -> None:
    file = png(2, 2, 8, RGBA, "FF0000FF 00FF0000 / FF0000FF 00FF0000")  # red beside green that nobody sees
    assert_close(read(tmp_path, file, size=1)[0], [[[255, 128, 128]]], within=1)


def test_tall_pictures_are_converted_in_strips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rgba = np.random.default_rng(0).integers(0, 256, (37, 5, 4), dtype=np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    whole = read_image(tmp_path / "a.png")[0]
    monkeypatch.setattr("helicon.formats.image_pixels.STRIP_PIXELS", 40)  # 8 rows
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0], whole)


@pytest.mark.parametrize(
    ("file", "levels"),
    [
        (tiff(3, 1, bytes.fromhex("0000 0080 FFFF"), "<", t258=16), [0, 128, 255]),
        (tiff(3, 1, bytes.fromhex("0000 8000 FFFF"), ">", t258=16), [0, 128, 255]),
        (tiff(3, 1, bytes.fromhex("0000 0080 FFFF"), "<", t258=16, t262=0), [255, 127, 0]),
        (tiff(2, 1, bytes.fromhex("800FFF"), "<", t258=12), [128, 255]),
        (tiff(3, 1, bytes.fromhex("00 80 FF"), "<", t262=0), [255, 127, 0]),
    ],
    ids=["little-endian", "big-endian", "white is 0", "12 bits", "8 bits, white is 0"],
)
def test_grey_of_tiff_files(tmp_path: Path, file: bytes, levels: list[int]) -> None:
    assert read(tmp_path, file, "a.tif")[0] == [grey(*levels)]


@pytest.mark.parametrize("sample_format", [1, 2, 3], ids=["unsigned", "signed", "float"])
def test_samples_of_32_bits_are_refused(tmp_path: Path, sample_format: int) -> None:
    with pytest.raises(ImageError, match="up to 16 bits are accepted"):
        read(tmp_path, tiff(1, 1, bytes(4), "<", t258=32, t339=sample_format), "a.tif")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "LAB"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_modes_of_tiff_files(tmp_path: Path, mode: str, compression: str) -> None:
    halves = Image.fromarray(np.array([[K] * 8 + [W] * 8] * 16, np.uint8))
    file = saved(halves.convert(mode), "TIFF", compression=compression)
    assert_close(read(tmp_path, file, "a.tiff")[0], np.asarray(halves), within=1)


@pytest.mark.parametrize("colour", [R, G, B, W, K, [200, 100, 50]], ids=str)
def test_cmyk_and_ycck_jpeg(tmp_path: Path, colour: list[int]) -> None:
    cmyk = [255 - value for value in colour] + [0]
    flat = Image.new("CMYK", (16, 16), tuple(cmyk))
    expected = np.full((16, 16, 3), colour)
    assert_close(read(tmp_path, saved(flat, "JPEG", quality=95), "a.jpg")[0], expected, within=2)

    # The same as Photoshop writes it: inks inverted, then three of them turned to luminance and chrominance
    ycc = np.asarray(Image.new("RGB", (1, 1), tuple(cmyk[:3])).convert("YCbCr"))[0, 0].tolist()
    stored = Image.new("CMYK", (16, 16), (*(255 - value for value in ycc), 0))  # Pillow inverts what it writes
    file = bytearray(saved(stored, "JPEG", quality=95))
    file[file.index(b"Adobe") + 11] = 2  # the transform: YCCK
    assert_close(read(tmp_path, bytes(file), "a.jpg")[0], expected, within=4)


LETTERS = {"a": R, "b": G, "c": B, "d": W, "e": K, "f": [200, 100, 50]}
UPRIGHT = {
    1: "ab/cd/ef",
    2: "ba/dc/fe",
    3: "fe/dc/ba",
    4: "ef/cd/ab",
    5: "ace/bdf",
    6: "eca/fdb",
    7: "fdb/eca",
    8: "bdf/ace",
}


def spelt(word: str) -> list:
    """A picture of a pixel a letter, rows separated by /."""
    return [[LETTERS[letter] for letter in row] for row in word.split("/")]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("name", "options"),
    [("a.png", {}), ("a.webp", {"lossless": True}), ("a.tif", {}), ("a.tif", {"compression": "tiff_lzw"})],
    ids=["PNG", "WEBP", "TIFF", "compressed TIFF"],
)
def test_pictures_are_turned_as_their_exif_says(tmp_path: Path, name: str, options: dict, orientation: int) -> None:
    picture = Image.fromarray(np.array(spelt("ab/cd/ef"), np.uint8))
    format = {"a.png": "PNG", "a.webp": "WEBP", "a.tif": "TIFF"}[name]
    found, counts = read(tmp_path, saved(picture, format, exif=exif(orientation), **options), name)
    assert found == spelt(UPRIGHT[orientation])
    assert counts == ({} if orientation == 1 else {"turned as its EXIF says": 1})


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [None, 16])
def test_jpeg_is_turned_and_cut_alike(tmp_path: Path, orientation: int, size: int | None) -> None:
    ramp = np.mgrid[0:48, 0:64]
    picture = Image.fromarray(np.stack([ramp[0] * 5, ramp[1] * 4, ramp[0] * 0], axis=-1).astype(np.uint8))
    (tmp_path / "a.jpg").write_bytes(saved(picture, "JPEG", quality=95, exif=exif(orientation)))
    expected = ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg"))
    if size:
        expected = ImageOps.fit(expected, (size, size), Image.Resampling.BICUBIC)
    assert_close(read_image(tmp_path / "a.jpg", size)[0], np.asarray(expected), within=1 if size else 0)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientations_that_do_not_exist_are_upright(tmp_path: Path, orientation: int) -> None:
    file = saved(Image.fromarray(np.array(spelt("ab/cd/ef"), np.uint8)), "PNG", exif=exif(orientation))
    assert read(tmp_path, file) == (spelt("ab/cd/ef"), {})


def test_broken_exif_is_passed_over(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    file = png(1, 1, 8, RGB, "FF0000", (b"eXIf", "4D4D002A FFFFFFFF"))
    assert read(tmp_path, file) == ([[R]], {})
    assert not recwarn.list


@pytest.mark.parametrize(("name", "format"), [("a.png", "PNG"), ("a.webp", "WEBP")])
def test_large_exif_is_left_out(tmp_path: Path, name: str, format: str) -> None:
    """Most of what it holds would be made numbers of Python's."""
    picture, found = Image.new("RGB", (2, 1)), exif(6)
    for size, shape in ((60_000, (2, 1, 3)), (70_000, (1, 2, 3))):
        found[0x010E] = "x" * size
        (tmp_path / name).write_bytes(
            saved(picture, format, exif=found, **({"lossless": True} if format == "WEBP" else {}))
        )
        pixels, report = read_image(tmp_path / name)
        assert pixels.shape == shape
        assert list(report.counts) == (
            ["turned as its EXIF says"] if size < 65_536 else ["EXIF data of more than 64 KiB left out"]
        )


def test_the_middle_is_cut_out(tmp_path: Path) -> None:
    assert read(tmp_path, png(5, 1, 8, RGB, "FF0000 000000 00FF00 000000 0000FF"), size=1)[0] == [[G]]
    assert read(tmp_path, png(4, 1, 8, RGB, "FF0000 00FF00 0000FF 000000"), size=1)[0] == [
        [G]
    ]  # between two pixels: the left
    assert read(tmp_path, png(1, 3, 8, RGB, "FF0000/00FF00/0000FF"), size=1)[0] == [[G]]
    assert read(tmp_path, png(2, 2, 8, RGB, "FF000000FF00/0000FFFFFFFF"), size=2)[0] == [[R, G], [B, W]]


@pytest.mark.parametrize("shape", [(60, 90), (91, 40), (64, 64), (7, 9)])
@pytest.mark.parametrize("size", [8, 31])
def test_scaling_is_that_of_pillow(tmp_path: Path, shape: tuple[int, int], size: int) -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8))
    picture.save(tmp_path / "a.png")
    expected = ImageOps.fit(picture, (size, size), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", size)[0], np.asarray(expected))
