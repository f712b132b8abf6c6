"""Picture files by suffix and first bytes, those of optional libraries too."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pictures import saved
from PIL import Image, features

from helicon.formats.image import read_image
from helicon.formats.image_kinds import DECODERS, REMEDIES, SUFFIXES, ImageError, kind_of
from helicon.modalities.image import IMAGE

RED, BLUE = (255, 0, 0), (0, 0, 255)


def flag() -> Image.Image:
    """48 x 32 pixels, the upper left quarter red, the lower right one blue."""
    image = Image.new("RGB", (48, 32))
    image.paste(RED, (0, 0, 24, 16))
    image.paste(BLUE, (24, 16, 48, 32))
    return image


def check_flag(path: Path) -> None:
    pixels, _ = read_image(path)
    assert pixels.shape == (32, 48, 3)
    for place, colour in (((4, 4), RED), ((-4, -4), BLUE), ((4, -4), (0, 0, 0))):
        assert np.abs(pixels[place].astype(int) - colour).max() < 12
    assert read_image(path, 8)[0].shape == (8, 8, 3)


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".JFIF"])
def test_jpeg_has_more_suffixes(tmp_path, suffix):
    (tmp_path / f"a{suffix}").write_bytes(saved(flag(), "JPEG", quality=95))
    check_flag(tmp_path / f"a{suffix}")
    assert suffix.lower() in IMAGE.suffixes


@pytest.mark.skipif(not features.check("avif"), reason="a Pillow without AVIF")
@pytest.mark.parametrize("suffix", [".avif", ".jpg"])
def test_avif_is_read(tmp_path, suffix):
    (tmp_path / f"a{suffix}").write_bytes(saved(flag(), "AVIF", quality=95))
    check_flag(tmp_path / f"a{suffix}")
    assert ".avif" in IMAGE.suffixes


@pytest.mark.parametrize("suffix", [".heic", ".heif", ".jpg"])
@pytest.mark.parametrize("turned", [1, 6])
def test_heic_is_read_where_its_library_is_there(tmp_path, suffix, turned):
    pillow_heif = pytest.importorskip("pillow_heif")
    exif = Image.Exif()
    exif[0x0112] = turned
    file = BytesIO()
    image = flag() if turned == 1 else flag().transpose(Image.Transpose.ROTATE_90)
    pillow_heif.from_pillow(image).save(file, quality=95, exif=exif.tobytes())
    (tmp_path / f"a{suffix}").write_bytes(file.getvalue())
    check_flag(tmp_path / f"a{suffix}")


@pytest.mark.parametrize(
    ("kind", "install"), [("HEIC", "pip install pillow-heif"), ("AVIF", "pip install -U pillow")]
)  # fmt: skip
def test_what_would_read_a_file_is_named_where_it_is_missing(monkeypatch, kind, install):
    monkeypatch.delitem(DECODERS, kind, raising=False)
    for brands in (
        b"heic\0\0\0\0mif1" if kind == "HEIC" else b"avif\0\0\0\0mif1",
        b"mif1\0\0\0\0" + kind.lower().encode(),
    ):
        data = (8 + len(brands)).to_bytes(4, "big") + b"ftyp" + brands
        with pytest.raises(
            ImageError, match=rf"a {kind} file named .jpg: accepted under that name: PNG, .*; {install}$"
        ):
            kind_of(data, ".jpg")


def test_a_suffix_is_read_or_has_a_remedy():
    assert not set(SUFFIXES) & set(REMEDIES)
    assert {".heic", ".heif", ".avif", ".svg"} <= {*SUFFIXES, *REMEDIES}
    with pytest.raises(ImageError, match=r"suffix '.psd': .png .* are accepted; export as .png"):
        read_image("a.psd")
