"""Pictures that are cut short or broken: the rows that are there.

Pillow decodes such files only with a switch for the whole process, and does not say how far it came. Here a file is
decoded twice, over different pixels or with different bytes in place of those that lack: what is equal was read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from helicon.formats.image_pixels import STRIP_PIXELS
from helicon.formats.read_report import ReadReport

TRUNCATED, MISSING = "truncated or broken pictures (read up to there)", "rows of pictures missing"
LEAST_SHARE = 1 / 8  # of the rows that has to be there: a sliver would be enlarged to a square
_FILLS = (0, 255)  # samples of pixels that are not read
_WEBP_FILLS = (0, 1)  # bytes of a WebP file that lack: libwebp decodes both as pixels, most others it refuses
_JPEG_END = b"\xff\xd9"
_JPEG_NOISE = bytes(range(1, 255))  # decoded as pixels, other than the grey of a file that ends
_GREY = (127, 128)  # samples of what libjpeg has no data for


def missing_bytes(data: bytes, kind: str) -> int:
    """Count the bytes that a WebP file lacks by its header, without which Pillow does not open it.

    Args:
        data: bytes of the file.
        kind: format, in Pillow's names.

    Returns:
        The number of bytes; 0 for other formats.
    """
    return max(0, int.from_bytes(data[4:8], "little") + 8 - len(data)) if kind == "WEBP" else 0


def salvage(
    reopen: Callable[[bytes], ImageFile], kind: str, missing: int, reason: str, report: ReadReport
) -> tuple[ImageFile, Image.Image]:  # fmt: skip
    """Decode the rows that are there of a picture whose decoding has failed.

    Rows between those that are there, of interlaced files, are copied from above.

    Args:
        reopen: opens the file, with some bytes added to its end, anew.
        kind: format, in Pillow's names.
        missing: number of bytes that lack, from `missing_bytes`.
        reason: fault for the error's text.
        report: `ReadReport` that counts the picture and its missing rows.

    Returns:
        The picture as opened, and its pixels, an image of fewer rows where some are missing.

    Raises:
        OSError: too little can be decoded.
    """
    if kind == "JPEG":
        image, other = (_decoded(reopen(end)) for end in (_JPEG_END, _JPEG_NOISE + _JPEG_END))
    elif kind == "WEBP":
        image, other = (_decoded(reopen(bytes([fill]) * missing)) for fill in _WEBP_FILLS)
    else:
        image, other = (_decoded(reopen(b""), fill) for fill in _FILLS)
    if image.info.get("progressive"):  # each scan goes through all rows: what the last ones lack is detail
        is_read_H = _before_the_last(~_is_grey(image))
    else:
        is_read_H = _equal_rows(image, other)
        if kind == "JPEG":  # after the noise both are grey
            is_read_H = np.logical_and.accumulate(is_read_H)
    read = np.flatnonzero(is_read_H)
    if len(read) < LEAST_SHARE * image.height:
        raise OSError(f"{reason}; {len(read):,} of {image.height:,} rows are there")
    report.add(TRUNCATED)
    report.add(MISSING, image.height - len(read))
    return image, _cropped(image, is_read_H)


def _decoded(image: ImageFile, fill: int | None = None) -> ImageFile:
    """Decode a picture as far as it goes, over pixels of one value if there is any."""
    if fill is not None:
        bands = len(image.getbands())
        image.im = Image.new(image.mode, image.size, (fill,) * bands if bands > 1 else fill).im
    with suppress(OSError, SyntaxError, struct.error):
        image.load()
    image.tile = []  # Pillow would decode again whenever the picture is used
    return image


def _equal_rows(first: Image.Image, second: Image.Image) -> np.ndarray:
    """Return bool [H], True for rows that are equal in two pictures of one size and mode."""
    rows = [
        (np.asarray(a) == np.asarray(b)).reshape(a.height, -1).all(1)
        for a, b in zip(_strips(first), _strips(second))
    ]  # fmt: skip
    return np.concatenate(rows)


def _is_grey(image: Image.Image) -> np.ndarray:
    """Return bool [H], True for rows of `_GREY` alone."""
    return np.concatenate(
        [np.isin(np.asarray(strip), _GREY).reshape(strip.height, -1).all(1) for strip in _strips(image)]
    )


def _before_the_last(is_true_H: np.ndarray) -> np.ndarray:
    """Return bool [H], True up to the last row that is True."""
    return np.logical_or.accumulate(is_true_H[::-1])[::-1]


def _strips(image: Image.Image) -> list[Image.Image]:
    rows = max(1, STRIP_PIXELS // image.width)
    return [
        image.crop((0, top, image.width, min(top + rows, image.height))) for top in range(0, image.height, rows)
    ]  # fmt: skip


def _cropped(image: Image.Image, is_read_H: np.ndarray) -> Image.Image:
    """Return the picture from the first row that was read to the last, with gaps filled."""
    read: list[int] = np.flatnonzero(is_read_H).tolist()
    for row in sorted(set(range(read[0], read[-1])) - set(read)):
        image.paste(image.crop((0, row - 1, image.width, row)), (0, row))
    return image.crop((0, read[0], image.width, read[-1] + 1)) if len(read) < image.height else image
