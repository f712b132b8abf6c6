"""Conversion of decoded pictures of any mode to RGB pixels, uint8 [H, W, 3]: on white, square, upright.

Shape suffixes: H rows, W columns, C the three channels.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from helicon.formats.read_report import ReadReport

STRIP_PIXELS = 1 << 20  # converted at a time, so that no second copy of a large picture is needed
GREY_16 = ("I", "I;16", "I;16B", "I;16L", "I;16N")  # Pillow's modes of grey with more than 8 bits; its I has 32


def check_pixels(pixels_HWC: np.ndarray) -> None:
    """Raise ValueError unless an array of pixels is uint8 [H, W, 3], H rows of W, and not empty."""
    if pixels_HWC.dtype != np.uint8 or pixels_HWC.ndim != 3 or pixels_HWC.shape[2] != 3 or not pixels_HWC.size:
        raise ValueError(f"pixels {pixels_HWC.dtype} {list(pixels_HWC.shape)}: uint8 [H, W, 3] is accepted")


def rgb_image(image: Image.Image, levels: tuple[int, int], report: ReadReport) -> Image.Image:
    """Convert a picture to RGB, alpha composed on white (before scaling, which would mix hidden colours in).

    Args:
        image: Pillow's image of any mode, loaded.
        levels: sample values of black and white in a grey file. Grey of 16 bits is rounded to 8; Pillow truncates
            colours of 16 bits.
        report: `ReadReport` that counts scaled grey and composed alpha.

    Returns:
        Pillow's image of mode RGB and the same size.
    """
    if "transparency" in image.info:
        image.info["transparency"] = _in_8_bits(image.info["transparency"], image.mode, levels[1])
    rows = max(1, STRIP_PIXELS // image.width)
    if image.height <= rows:
        rgb, composed = _rgb(image, levels)
    else:
        rgb, composed = Image.new("RGB", image.size), False
        for top in range(0, image.height, rows):
            part, through = _rgb(image.crop((0, top, image.width, min(top + rows, image.height))), levels)
            rgb.paste(part, (0, top))
            composed |= through
    report.add("16-bit grey scaled to 8 bits", image.mode in GREY_16)
    report.add("alpha composed on white", composed)
    return rgb


def _rgb(strip: Image.Image, levels: tuple[int, int]) -> tuple[Image.Image, bool]:
    """Convert a picture or a strip of it to RGB; also return True if any pixel was transparent."""
    if strip.mode in GREY_16:
        return _grey(strip, levels)
    if strip.has_transparency_data:
        return _on_white(strip)
    return strip.convert("RGB"), False  # a copy, also of RGB: a file's own picture changes when its frames are counted


def _in_8_bits(transparency: object, mode: str, white: int) -> object:
    """Scale a PNG's transparent grey or colour, stated in the file's bit depth, to 8 bits for Pillow."""
    if mode == "L" and isinstance(transparency, int):
        return transparency * 255 // white
    if mode == "RGB" and isinstance(transparency, tuple) and white > 255:
        return tuple(value >> 8 for value in transparency)
    return transparency


def _grey(strip: Image.Image, levels: tuple[int, int]) -> tuple[Image.Image, bool]:
    """Convert grey of more than 8 bits, as `_rgb` does."""
    black, white = levels
    samples_HW = np.asarray(strip).astype(np.float64)
    grey_HW = np.rint((samples_HW - black) * (255 / (white - black))).astype(np.uint8)
    through_HW = samples_HW == strip.info.get("transparency", -1)
    grey_HW[through_HW] = 255
    return Image.fromarray(grey_HW).convert("RGB"), bool(through_HW.any())


def _on_white(strip: Image.Image) -> tuple[Image.Image, bool]:
    """Compose a picture with alpha on white, as `_rgb` does."""
    rgba = (strip.convert("LA") if strip.mode == "La" else strip).convert("RGBA")
    white = Image.new("RGB", strip.size, "white")
    white.paste(rgba, mask=rgba)
    return white, rgba.getchannel("A").getextrema()[0] != 255


def middle_square(image: Image.Image, extent: tuple[float, float], size: int) -> Image.Image:
    """Scale the shorter side of a picture to `size` (antialiased, bicubic) and crop the middle.

    Args:
        image: Pillow's image of mode RGB.
        extent: width and height in pixels, fractional where a decoder rounded them up.
        size: side of the square in pixels.

    Returns:
        Pillow's image of `size` x `size` pixels.
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
    """Turn pixels by EXIF's orientation.

    Args:
        pixels_HWC: NumPy uint8 [H, W, 3], H rows of W pixels.
        orientation: 1 to 8, the sides of the scene that row 0 and column 0 show.

    Returns:
        A view of the pixels, [H, W, 3] or [W, H, 3].
    """
    if orientation >= 5:
        pixels_HWC = pixels_HWC.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels_HWC = pixels_HWC[::-1]
    if orientation in (2, 3, 6, 7):
        pixels_HWC = pixels_HWC[:, ::-1]
    return pixels_HWC
