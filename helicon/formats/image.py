"""Picture files <-> uint8 RGB pixels [H, W, 3].

Every accepted file becomes 8-bit RGB, upright, on white. Pillow decodes; the first bytes of a file decide which of its
decoders may run, and sizes are checked before anything is decoded.

Shape suffixes: H rows, W columns, C the three channels.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.TiffTags import TAGS_V2_GROUPS

from helicon.formats.files import atomic_write, open_regular
from helicon.formats.image_kinds import DECODERS, ImageError, check_suffix, kind_of
from helicon.formats.image_limits import MAX_FRACTION_PIXELS, excess
from helicon.formats.image_parts import check_parts, gif_extent
from helicon.formats.image_pixels import check_pixels, middle_square, rgb_image, upright
from helicon.formats.image_profiles import rgb_by_profile
from helicon.formats.image_salvage import LEAST_SHARE, missing_bytes, salvage
from helicon.formats.read_report import ReadReport
from helicon.formats.suppress_output import suppress_output

MAX_BYTES = 200_000_000  # of a file
MAX_SQUARE = 8000  # pixels a side of what is asked for
MAX_PIXELS = MAX_SQUARE**2  # of a picture: 1 GiB is enough to read it. From 89 million on Pillow would warn
MAX_SIDE = 65_535  # as of JPEG: a row is converted at a time
MAX_MEMORY = 270_000_000  # bytes of a decoded picture and of its copy as RGB
MAX_EXIF = 1 << 16  # bytes of EXIF data, as a segment of JPEG can have: objects of Python's are made of its numbers
DRAFT = 4  # a JPEG is decoded at 1/2, 1/4 or 1/8 as long as this many times the size asked for is left
BITS_PER_SAMPLE, PHOTOMETRIC, ORIENTATION, TILE_WIDTH, TILE_HEIGHT = 258, 262, 274, 322, 323  # TIFF's and EXIF's tags

_ONE_FRAME = ("PNG", "JPEG", "BMP")  # unless they are animated: others change as their frames are counted
_BYTES = {
    "1": 1,
    "L": 1,
    "P": 1,
    "I;16": 2,
    "I;16B": 2,
    "I;16L": 2,
    "I;16N": 2,
}  # of a pixel by mode, or else 4


def read_image(path: Path | str, size: int | None = None) -> tuple[np.ndarray, ReadReport]:
    """Read a picture file, scaled and cropped to a square if requested.

    Of an animation or a file of several pages the first is read; colours are converted to sRGB by the file's profile.
    Of a file that is cut short or broken the rows that are there are read, if they are an eighth or more. A suffix may
    be that of another format, as often in the wild, but TIFF files, and only they, are named .tif or .tiff.

    Args:
        path: path of a picture file.
        size: side in pixels to which the shorter side is scaled (antialiased, bicubic), the middle cropped; None keeps
            the file's size.

    Returns:
        RGB pixels NumPy uint8 [H, W, 3], H rows of W, or [size, size, 3], and a `ReadReport` with counts of what was
        dropped or changed.

    Raises:
        ImageError: the file cannot be read.
        OSError: the file cannot be opened.
        ValueError: `size` is out of range.
    """
    if size is not None and not 1 <= size <= MAX_SQUARE:
        raise ValueError(f"a size of {size} pixels: 1 to {MAX_SQUARE} are accepted")
    suffix = os.path.splitext(path)[1].lower()
    check_suffix(suffix)
    with open_regular(path) as file:
        n_bytes = os.fstat(file.fileno()).st_size
        if n_bytes > MAX_BYTES:
            raise ImageError(f"{n_bytes:,} bytes are more than the {MAX_BYTES:,} that a picture file may have")
        data = file.read(n_bytes)
    kind, report = kind_of(data, suffix), ReadReport()
    try:
        with suppress_output(kind == "TIFF"):  # libtiff comments on every fault
            image, extent, orientation = _decode(data, kind, size, report)
    except ImageError:
        raise
    except Exception as error:  # of any type: Pillow lets through whatever its parsers stumble over
        raise ImageError(f"a broken {kind} file: {_reason(error)}") from error
    if size is not None:
        image = middle_square(image, extent, size)
    return np.ascontiguousarray(upright(np.array(image), orientation)), report


def write_image(pixels_HWC: np.ndarray, path: Path | str) -> None:
    """Write pixels as a PNG file, atomically; the same pixels give the same bytes.

    Args:
        pixels_HWC: RGB pixels NumPy uint8 [H, W, 3], H rows of W.
        path: path of the file; PNG whatever its suffix.

    Raises:
        ValueError: the pixels are of another shape or type.
    """
    check_pixels(pixels_HWC)
    with atomic_write(path) as temporary:
        Image.fromarray(pixels_HWC).save(temporary, format="PNG")


def _reason(error: Exception) -> str:
    """Translate an exception of Pillow's into one readable line."""
    text = " ".join(str(error).split())[:200]
    match error:
        case IndexError() | EOFError() | struct.error():
            return "it ends early"
        case KeyError():
            return f"missing, or of no known meaning: {text}"
        case MemoryError():
            return "it does not fit into memory"
        case Image.DecompressionBombError():
            return f"more pixels than a picture may have, {MAX_PIXELS:,}"
    return "its header describes no picture" if text == "not identified by this driver" else text or repr(error)


def _decode(
    data: bytes, kind: str, size: int | None, report: ReadReport
) -> tuple[Image.Image, tuple[float, float], int]:
    """Decode a picture as RGB; also return its width and height, and the EXIF orientation still to apply.

    Width and height are fractional where a JPEG was decoded at a fraction of its size.
    """
    missing = missing_bytes(data, kind)
    if len(data) < LEAST_SHARE * (len(data) + missing):
        raise ImageError(f"a broken {kind} file: {len(data):,} of its {len(data) + missing:,} bytes are there")
    check_parts(data, kind)
    if over := excess(data, kind):
        raise ImageError(f"a {kind} file with too much in it: {over}")
    if kind == "GIF":
        _check_size(*gif_extent(data))
    image, extent, levels, turned = _opened(data + bytes(missing), kind, size, report)
    as_it_is = kind in _ONE_FRAME and image.mode == "RGB" and not image.info.get("transparency")
    as_it_is = as_it_is and not getattr(image, "is_animated", False)
    memory = image.width * image.height * (_BYTES.get(image.mode, 4) + (0 if as_it_is else 4))
    if memory > MAX_MEMORY:
        what = f"{image.width:,} x {image.height:,} pixels of mode {image.mode}"
        raise ImageError(f"{what} take {memory:,} bytes, more than the {MAX_MEMORY:,} that a picture may")
    pixels: Image.Image = image
    try:
        if missing:
            raise OSError(f"image file is truncated ({missing:,} bytes are missing)")
        image.load()
    except (OSError, SyntaxError, struct.error) as error:
        reopen = lambda end: _opened(data + end, kind, size, ReadReport())[0]  # noqa: E731
        image, pixels = salvage(reopen, kind, missing, _reason(error), report)
        extent = (extent[0], min(extent[1], pixels.height))
    orientation = _orientation(image, report)
    report.add("turned as its EXIF says", (turned, orientation) != (1, 1))
    to_rgb = lambda: pixels if as_it_is else rgb_image(pixels, levels, report)  # noqa: E731
    rgb = rgb_by_profile(pixels, to_rgb, image.info.get("icc_profile"), report)
    with suppress(Exception):  # faults in what follows the first frame
        if getattr(image, "is_animated", False):
            report.add("first page of several" if kind == "TIFF" else "first frame of an animation")
    return rgb, extent, orientation


def _opened(
    data: bytes, kind: str, size: int | None, report: ReadReport
) -> tuple[ImageFile, tuple[float, float], tuple[int, int], int]:
    """Open a picture; also return its width and height, the levels of black and white, and the turn of a TIFF."""
    with suppress_output():  # Pillow warns of faults in EXIF data
        image = DECODERS[kind](BytesIO(data))
    extent, levels, turned = image.size, (0, 255), 1
    if isinstance(image, JpegImageFile) and size is not None:
        extent = _drafted(image, size, report)
    else:
        _check_size(*image.size)
    if isinstance(image, PngImageFile):
        levels = (0, 2 ** data[24] - 1)  # its bit depth
    elif isinstance(image, TiffImageFile):
        levels = _tiff_levels(image)
        turned = _orientation(image, report)  # Pillow turns these itself, as it loads them
        exif = image.getexif()
        for directory in exif.keys() & TAGS_V2_GROUPS.keys():  # it would read them then, however large they are
            del exif[directory]
    return image, extent, levels, turned


def _drafted(image: JpegImageFile, size: int, report: ReadReport) -> tuple[float, float]:
    """Let a JPEG be decoded at the fraction that suits a size in pixels; return its width and height then."""
    width, height = image.size
    _check_size(width, height, MAX_FRACTION_PIXELS)
    is_large = width * height > MAX_PIXELS
    most = DRAFT * size
    drafted = image.draft(None, (min(most, width // 2), min(most, height // 2)) if is_large else (most, most))
    report.add("large pictures decoded at a fraction", is_large)
    return drafted[1][2:] if drafted else image.size


def _check_size(width: int, height: int, max_pixels: int = MAX_PIXELS) -> None:
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        most = f"{max_pixels:,} in all or {MAX_SIDE:,} a side"
        raise ImageError(f"{width:,} x {height:,} pixels are more than a picture may have, {most}")


def _tiff_levels(image: TiffImageFile) -> tuple[int, int]:
    """Return the sample values of black and white; raise ImageError for undefined ones and for tiles too large."""
    _check_size(image.tag_v2.get(TILE_WIDTH, 1), image.tag_v2.get(TILE_HEIGHT, 1))
    if image.mode in ("I", "F"):
        raise ImageError("samples of 32 bits or with a sign, none known to be white: up to 16 bits are accepted")
    white = 2 ** image.tag_v2.get(BITS_PER_SAMPLE, (8,))[0] - 1
    return (white, 0) if image.tag_v2.get(PHOTOMETRIC) == 0 else (0, white)


def _orientation(image: ImageFile, report: ReadReport) -> int:
    """Return EXIF's orientation, 1 to 8; 1 (upright) for missing, broken or too large EXIF data."""
    if len(image.info.get("exif") or b"") > MAX_EXIF or len(image.info.get("Raw profile type exif", "")) > 3 * MAX_EXIF:
        report.add("EXIF data of more than 64 KiB left out")
        return 1
    with suppress(Exception), suppress_output():
        orientation = image.getexif().get(ORIENTATION)
        return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1
    return 1
