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


def rgb_image(image: Image.Image, levels: tuple[int, int], report: ReadReport) -> Image.Image:
    """A loaded picture as RGB, alpha composed on white (scaling first would mix hidden colours in).

    levels: the samples that are black and white in a file of grey. Colours of 16 bits are cut to their upper 8 by
    Pillow; grey is rounded.
    """
    if "transparency" in image.info:
        image.info["transparency"] = _in_8_bits(image.info["transparency"], image.mode, levels[1])
    rows = max(1, STRIP_PIXELS // image.width)
    if image.height <= rows:
        whole, composed = _rgb(image, levels)
    else:
        whole, composed = Image.new("RGB", image.size), False
        for top in range(0, image.height, rows):
            part, through = _rgb(image.crop((0, top, image.width, min(top + rows, image.height))), levels)
            whole.paste(part, (0, top))
            composed |= through
    report.add("16-bit grey scaled to 8 bits", image.mode in GREY_16)
    report.add("alpha composed on white", composed)
    return whole


def _rgb(strip: Image.Image, levels: tuple[int, int]) -> tuple[Image.Image, bool]:
    """A picture, or a strip of one, as RGB, and whether any of it was transparent."""
    if strip.mode in GREY_16:
        return _grey(strip, levels)
    if strip.has_transparency_data:
        return _on_white(strip)
    return strip.convert("RGB"), False  # a copy, also of RGB: a file's own picture changes when its frames are counted


def _in_8_bits(transparency: object, mode: str, white: int) -> object:
    """The one transparent grey or colour of a PNG: files state it in their own bits, Pillow compares it in 8."""
    if mode == "L" and isinstance(transparency, int):
        return transparency * 255 // white
    if mode == "RGB" and isinstance(transparency, tuple) and white > 255:
        return tuple(value >> 8 for value in transparency)
    return transparency


def _grey(strip: Image.Image, levels: tuple[int, int]) -> tuple[Image.Image, bool]:
    """`_rgb` of many-bit grey."""
    black, white = levels
    samples_HW = np.asarray(strip).astype(np.float64)
    grey_HW = np.rint((samples_HW - black) * (255 / (white - black))).astype(np.uint8)
    through_HW = samples_HW == strip.info.get("transparency", -1)
    grey_HW[through_HW] = 255
    return Image.fromarray(grey_HW).convert("RGB"), bool(through_HW.any())


def _on_white(strip: Image.Image) -> tuple[Image.Image, bool]:
    """`_rgb` of what has alpha."""
    rgba = (strip.convert("LA") if strip.mode == "La" else strip).convert("RGBA")
    white = Image.new("RGB", strip.size, "white")
    white.paste(rgba, mask=rgba)
    return white, rgba.getchannel("A").getextrema()[0] != 255


def middle_square(image: Image.Image, extent: tuple[float, float], size: int) -> Image.Image:
    """The middle of a picture, `size` x `size`, its shorter side scaled to that, antialiased and bicubic.

    extent: width and height, not whole numbers where a decoder rounded them up.
    """
    if image.size == (size, size) == extent:
        return image
    width, height = extent
    side = min(extent)
    left, top = (width - side) / 2, (height - side) / 2
    if side == size:  # nothing is scaled: between two pixels it would be blurred
        left, top = left // 1, top // 1
    return image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))


def upright(pixels_HWC: np.ndarray, orientation: int) -> np.ndarray:
    """A view of pixels turned as EXIF's orientation, 1 to 8, says: which sides row 0 and column 0 are of."""
    if orientation >= 5:
        pixels_HWC = pixels_HWC.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels_HWC = pixels_HWC[::-1]
    if orientation in (2, 3, 6, 7):
        pixels_HWC = pixels_HWC[:, ::-1]
    return pixels_HWC
