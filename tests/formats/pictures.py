"""Picture files built byte by byte, and a small photograph of each kind, for the tests of reading them."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from helicon.formats.image import read_image

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6  # PNG's colour types
R, G, B, W, K = [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]  # pixels


def chunk(name: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file: length, name, body, checksum."""
    return struct.pack(">L", len(body)) + name + body + struct.pack(">L", zlib.crc32(name + body))


def png(width: int, height: int, bits: int, colour: int, rows: str, *chunks: tuple[bytes, str]) -> bytes:
    """A PNG file of rows in hexadecimal, separated by /, and of chunks that come before them."""
    header = chunk(b"IHDR", struct.pack(">LLBBBBB", width, height, bits, colour, 0, 0, 0))
    before = b"".join(chunk(name, bytes.fromhex(body)) for name, body in chunks)
    pixels = b"".join(b"\0" + bytes.fromhex(row) for row in rows.split("/"))  # each row begins with its filter, none
    return b"\x89PNG\r\n\x1a\n" + header + before + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def tiff(width: int, height: int, samples: bytes, order: str = "<", **tags: int) -> bytes:
    """An uncompressed TIFF file of one strip of samples, in little (<) or big (>) byte order.

    tags: BitsPerSample, PhotometricInterpretation and others, by number, as t258=16.
    """
    entries = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: len(samples)}
    entries |= {int(name[1:]): value for name, value in tags.items()}
    directory = struct.pack(order + "H", len(entries))
    for tag in sorted(entries):  # type 4, one value of 32 bits
        directory += struct.pack(order + "HHLL", tag, 4, 1, entries[tag])
    start = b"II" if order == "<" else b"MM"
    return start + struct.pack(order + "HL", 42, 8 + len(samples)) + samples + directory + struct.pack(order + "L", 0)


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    """A picture file as Pillow writes it."""
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    """EXIF data that say how a picture lies, and a little more."""
    found = Image.Exif()
    found[0x0112], found[0x010E] = orientation, "hello"
    return found


def small_files() -> dict[str, bytes]:
    """Name -> file of 20 x 24 pixels, of every format and most of the ways that pixels lie in it."""
    y, x = np.mgrid[0:24, 0:20]
    rgb = Image.fromarray(np.stack([x * 12, y * 10, x * y % 256], axis=-1).astype(np.uint8))
    rgba = rgb.copy()
    rgba.putalpha(rgb.getchannel("R"))
    palette, turned = rgb.quantize(16), {"save_all": True, "append_images": [rgb.rotate(180)], "duration": 100}
    grey = Image.fromarray((x * 3000).astype(np.uint16))
    files = {
        "rgba.png": saved(rgba, "PNG", exif=exif(6)),
        "palette.png": saved(palette, "PNG", transparency=3),
        "grey.png": saved(grey, "PNG"),
        "animated.png": saved(rgb, "PNG", **turned),
        "baseline.jpg": saved(rgb, "JPEG", exif=exif(6)),
        "progressive.jpg": saved(rgb, "JPEG", progressive=True),
        "cmyk.jpg": saved(rgb.convert("CMYK"), "JPEG"),
        "transparent.gif": saved(palette, "GIF", transparency=2),
        "animated.gif": saved(palette, "GIF", **turned, disposal=2),
        "lossy.webp": saved(rgb, "WEBP"),
        "lossless.webp": saved(rgba, "WEBP", lossless=True, exif=exif(6)),
        "animated.webp": saved(rgb, "WEBP", **turned),
        "rgb.bmp": saved(rgb, "BMP"),
        "palette.bmp": saved(palette, "BMP"),
        "rgba.bmp": saved(rgba, "BMP"),
        "fax.tif": saved(rgb.convert("1"), "TIFF", compression="group4"),
        "lzw.tif": saved(rgba, "TIFF", compression="tiff_lzw"),
        "grey.tif": saved(grey, "TIFF"),
        "palette.tif": saved(palette, "TIFF"),
        "cmyk.tif": saved(rgb.convert("CMYK"), "TIFF"),
        "lab.tif": saved(rgb.convert("LAB"), "TIFF"),
    }
    for compression in ("raw", "tiff_adobe_deflate", "jpeg", "packbits"):
        files[f"{compression}.tif"] = saved(rgb, "TIFF", compression=compression, exif=exif(6))
    return files


def assert_close(found: ArrayLike, expected: ArrayLike, within: int) -> None:
    """Equal but for a few levels, where a format is lossy."""
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(expected, float), rtol=0, atol=within)


def read(folder: Path, data: bytes, name: str = "a.png", size: int | None = None) -> tuple[list, dict[str, int]]:
    """Pixels, as lists, of a file of this name and these bytes; the counts of the report."""
    (folder / name).write_bytes(data)
    pixels, report = read_image(folder / name, size)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    return pixels.tolist(), report.counts
