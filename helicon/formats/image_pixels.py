"""Decoded pictures of any mode -> pixels: uint8 arrays [H, W, 3], RGB, on white, upright, square.

Shape suffixes: H rows, W columns, C the three channels.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from helicon.formats.score import ReadReport

STRIP_PIXELS = 1 << 20  # converted at a time, so that no second copy of a large picture is needed
GREY_16 = ("I", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes of grey with more than 8 bits; its I has 32


def check_pixels(pixels_HWC: np.ndarray) -> None:
    """ValueError unless these are pixels as everything here takes them."""
    if pixels_HWC.dtype != np.uint8 or pixels_HWC.ndim != 3 or pixels_HWC.shape[2] != 3 or not pixels_HWC.size:
        raise ValueError(f"pixels {pixels_HWC.dtype} {list(pixels_HWC.shape)}: uint8 [H, W, 3] is accepted")


def rgb_pixels(image: Image.Image, levels: tuple[int, int], report: ReadReport) -> np.ndarray:
    """Pixels [H, W, 3] of a loaded picture, alpha composed on white (scaling first would mix hidden colours in).

    levels: the samples that are black and white in a file of grey. Colours of 16 bits are cut to their upper 8 by
    Pillow; grey is rounded.
    """
    if "transparency" in image.info:
        image.info["transparency"] = _in_8_bits(image.info["transparency"], image.mode, levels[1])
    pixels_HWC = np.empty((image.height, image.width, 3), np.uint8)
    rows, composed = max(1, STRIP_PIXELS // image.width), False
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height)))
        if strip.mode in GREY_16:
            part_HWC, through = _grey(strip, levels)
        elif strip.has_transparency_data:
            part_HWC, through = _on_white(strip)
        else:
            part_HWC, through = np.asarray(strip.convert("RGB")), False
        pixels_HWC[top : top + rows] = part_HWC
        composed |= through
    report.add("16-bit grey scaled to 8 bits", image.mode in GREY_16)
    report.add("alpha composed on white", composed)
    return pixels_HWC


def _in_8_bits(transparency: object, mode: str, white: int) -> object:
    """The one transparent grey or colour of a PNG: files state it in their own bits, Pillow compares it in 8."""
    if mode == "L" and isinstance(transparency, int):
        return transparency * 255 // white
    if mode == "RGB" and isinstance(transparency, tuple) and white > 255:
        return tuple(value >> 8 for value in transparency)
    return transparency


def _grey(strip: Image.Image, levels: tuple[int, int]) -> tuple[np.ndarray, bool]:
    """Pixels of a strip of many-bit grey, and whether any were transparent."""
    black, white = levels
    samples_HW = np.asarray(strip).astype(np.float64)
    grey_HW = np.rint((samples_HW - black) * (255 / (white - black))).astype(np.uint8)
    through_HW = samples_HW == strip.info.get("transparency", -1)
    grey_HW[through_HW] = 255
    return grey_HW[:, :, None], bool(through_HW.any())


def _on_white(strip: Image.Image) -> tuple[np.ndarray, bool]:
    """Pixels of a strip with alpha, and whether any were transparent."""
    rgba = (strip.convert("LA") if strip.mode == "La" else strip).convert("RGBA")
    white = Image.new("RGB", strip.size, "white")
    white.paste(rgba, mask=rgba)
    return np.asarray(white), rgba.getchannel("A").getextrema()[0] != 255


def middle_square(pixels_HWC: np.ndarray, extent: tuple[float, float], size: int) -> np.ndarray:
    """The middle of a picture [size, size, 3], its shorter side scaled to `size`, antialiased and bicubic.

    extent: width and height, not whole numbers where a decoder rounded them up.
    """
    width, height = extent
    if pixels_HWC.shape[:2] == (size, size) == (height, width):
        return pixels_HWC
    side = min(extent)
    left, top = (width - side) / 2, (height - side) / 2
    if side == size:  # nothing is scaled: between two pixels it would be blurred
        left, top = left // 1, top // 1
    box = (left, top, left + side, top + side)
    return np.asarray(Image.fromarray(pixels_HWC).resize((size, size), Image.Resampling.BICUBIC, box=box))


def upright(pixels_HWC: np.ndarray, orientation: int) -> np.ndarray:
    """A view of pixels turned as EXIF's orientation, 1 to 8, says: which sides row 0 and column 0 are of."""
    if orientation >= 5:
        pixels_HWC = pixels_HWC.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels_HWC = pixels_HWC[::-1]
    if orientation in (2, 3, 6, 7):
        pixels_HWC = pixels_HWC[:, ::-1]
    return pixels_HWC
