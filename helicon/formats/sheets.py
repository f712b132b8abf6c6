"""Contact sheets: many pictures in one PNG.

Pictures are uint8 arrays [H, W, 3], RGB. Small ones are enlarged by whole factors, so that every pixel stays a square.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from einops import rearrange, repeat

from helicon.formats.image import write_image
from helicon.formats.image_pixels import check_pixels

GAP, PAIR_GAP = 4, 12  # pixels between pictures, and between pairs of them
SMALLEST = 96  # pixels of a picture's longer side on a sheet


def enlarged(pixels_HWC: np.ndarray, smallest: int = 256) -> np.ndarray:
    """Enlarge a small picture by a whole factor, without interpolation.

    Args:
        pixels_HWC: NumPy uint8 [H, W, 3], H rows of W pixels.
        smallest: pixels that the longer side has at least afterwards.

    Returns:
        NumPy uint8 [H * factor, W * factor, 3].
    """
    check_pixels(pixels_HWC)
    factor = max(1, math.ceil(smallest / max(pixels_HWC.shape[:2])))
    return repeat(pixels_HWC, "h w c -> (h y) (w x) c", y=factor, x=factor)


def contact_sheet(
    pictures: Sequence[np.ndarray], path: Path | str, *, columns: int | None = None, smallest: int = SMALLEST
) -> None:
    """Write pictures in a grid as a PNG; small ones are `enlarged`, each is centred in its cell.

    Args:
        pictures: NumPy uint8 [H, W, 3] each, H rows of W pixels, of any sizes.
        path: path of the PNG.
        columns: number of columns of the grid; chosen for a nearly square sheet unless given.
        smallest: pixels that a picture's longer side has at least.

    Raises:
        ValueError: there is no picture, or no column.
    """
    write_image(_grid([enlarged(picture, smallest) for picture in pictures], columns, GAP), path)


def before_and_after(pairs: Sequence[tuple[np.ndarray, np.ndarray]], path: Path | str) -> None:
    """Write pairs of pictures in a grid as a PNG, the first picture of each pair left, the second right.

    Args:
        pairs: (before, after), NumPy uint8 [H, W, 3] each, H rows of W pixels.
        path: path of the PNG.

    Raises:
        ValueError: there is no pair.
    """
    pictures = [_grid([enlarged(picture, SMALLEST) for picture in pair], 2, GAP) for pair in pairs]
    write_image(_grid(pictures, None, PAIR_GAP), path)


def _grid(pictures: Sequence[np.ndarray], columns: int | None, gap: int) -> np.ndarray:
    """Arrange pictures row by row on white, `gap` pixels apart, in cells as large as the largest."""
    if not pictures:
        raise ValueError("no picture for a sheet: 1 or more are accepted")
    if columns is not None and columns < 1:
        raise ValueError(f"a sheet of {columns} columns: 1 or more are accepted")
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (0, 1))
    # A side of n columns of this width is about one of n * width / height rows
    columns = columns or max(1, round(math.sqrt(len(pictures) * height / width)))
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    cells = np.full((rows * columns, height + gap, width + gap, 3), 255, np.uint8)
    for cell, picture in zip(cells, pictures):
        top, left = (height - picture.shape[0]) // 2, (width - picture.shape[1]) // 2
        cell[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return rearrange(cells, "(row column) h w c -> (row h) (column w) c", row=rows)[:-gap, :-gap]
