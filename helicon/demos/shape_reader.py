"""Reader of the world of shapes: detects shapes, sizes, colours and positions in a picture.

A connected area that is not background is compared with templates ("stamps") of all shapes, sizes and colours at all
positions around it; the template with the least squared error is the detected shape.

Shape suffixes: S height and width of a picture, W of a window in it, P a window's pixels in a row; C colours, K stamps;
3 lightness and hue.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np

from helicon.demos.shapes import BACKGROUND, COLOURS, SHAPES, SIDE, SIZES, Thing, stamp

UNCLEAR = "unclear"  # the shape of a thing that is like none of the shapes
_WORST_MISFIT = 0.2  # of a clear shape
_WORST_ALONE = 0.07  # of one thing; above it, parts of different colours are things that touch
_COVERED = 0.45  # how far on the way from the background to a colour a pixel of a thing is, at least
_DIRT = 0.25  # of the area of the smallest shape: what is smaller is no thing
# What a model draws is a little off in size, place and sharpness, each in pixels
_SIDES, _SHIFTS, _BLURS = range(8, 16), (-0.5, 0.0, 0.5, 1.0), (0.0, 0.9)
_WINDOW = max(_SIDES) + 6  # side of what is compared
_HUE_BLUR = 1.8  # the eye sees hues less sharply than lightness, and JPEG stores them so
# Lightness, and the differences of blue and red to it (ITU-R BT.601)
_LIGHTNESS_AND_HUE_33 = np.array([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]], np.float32)


@dataclass(frozen=True)
class DetectedShape:
    """Shape detected in a picture.

    Attributes:
        thing: size, colour and shape.
        row: of its middle, in pixels from the top.
        column: of its middle, in pixels from the left.
        misfit: squared error as a share of the area's energy: 0 for a shape exactly as drawn, up to 1.
    """

    thing: Thing
    row: float
    column: float
    misfit: float


def relation(first: DetectedShape, second: DetectedShape) -> str:
    """Return the relation of two shapes along the axis on which their middles are farther apart.

    Args:
        first: the `DetectedShape` whose position is named.
        second: the `DetectedShape` that it is relative to.

    Returns:
        `above`, `below`, `left of` or `right of`.
    """
    down, right = second.row - first.row, second.column - first.column
    if abs(down) >= abs(right):
        return "above" if down > 0 else "below"
    return "left of" if right > 0 else "right of"


def read_scene(pixels: np.ndarray) -> list[DetectedShape]:
    """Detect all shapes in pixels NumPy uint8 [S, S, 3], S each way, as `DetectedShape`s from the top down.

    Raises:
        ValueError: the array has another shape or type.
    """
    pixels = np.asarray(pixels)
    if pixels.dtype != np.uint8 or pixels.shape != (SIDE, SIDE, 3):
        raise ValueError(f"pixels are {pixels.dtype} {list(pixels.shape)}; uint8 [{SIDE}, {SIDE}, 3] is needed")
    image_SS3 = _lightness_and_hue(pixels)
    colour_SS = _colours(image_SS3)
    areas = _areas(np.minimum(colour_SS, 0))
    things = _things(areas, image_SS3, colour_SS)
    split = []
    for area_SS, thing in zip(areas, things):
        parts = _areas(np.where(area_SS, colour_SS, -1)) if thing.misfit > _WORST_ALONE else []
        split += parts if len(parts) > 1 else [area_SS]
    if len(split) > len(areas):
        things = _things(split, image_SS3, colour_SS)
    return sorted(things, key=lambda seen: (seen.row, seen.column))


def _lightness_and_hue(rgb: np.ndarray) -> np.ndarray:
    """Convert RGB colours to lightness and hue, float [..., 3], relative to the background's."""
    return (rgb.astype(np.float32) - np.array(BACKGROUND, np.float32)) @ _LIGHTNESS_AND_HUE_33.T


_DIRECTIONS_C3 = _lightness_and_hue(np.array(list(COLOURS.values())))  # from the background to each colour


def _colours(image_SS3: np.ndarray) -> np.ndarray:
    """Classify pixels by colour, int [S, S]: the nearest direction from the background; -1 close to the background."""
    square_C = (_DIRECTIONS_C3**2).sum(1)
    along_SSC = image_SS3 @ _DIRECTIONS_C3.T
    far_SSC = np.clip(along_SSC / square_C, 0, 1)
    # The squared distance from each direction, but for a term that all colours share
    colour_SS = (far_SSC * (far_SSC * square_C - 2 * along_SSC)).argmin(-1)
    far_SS = np.take_along_axis(far_SSC, colour_SS[..., None], -1)[..., 0]
    return np.where(far_SS > _COVERED, colour_SS, -1)


def _areas(label_SS: np.ndarray) -> list[np.ndarray]:
    """Return connected areas of equal labels from 0 on, bool [S, S] each, without dirt; corners connect."""
    least = _DIRT * min(stamp(shape, min(SIZES.values())).sum() for shape in SHAPES)
    rows, columns = np.nonzero(label_SS >= 0)
    left = dict(zip(zip(rows.tolist(), columns.tolist()), label_SS[rows, columns].tolist()))
    areas = []
    while left:
        at, label = left.popitem()
        area = [at]
        for row, column in area:  # grows while it is walked through
            for near in product((row - 1, row, row + 1), (column - 1, column, column + 1)):
                if left.get(near) == label:
                    del left[near]
                    area.append(near)
        if len(area) >= least:
            areas.append(np.zeros(label_SS.shape, bool))
            areas[-1][tuple(zip(*area))] = True
    return areas


def _things(areas: list[np.ndarray], image_SS3: np.ndarray, colour_SS: np.ndarray) -> list[DetectedShape]:
    """Detect the shape in each area, with the other areas and their edges erased."""
    edged = [_with_edge(area_SS) for area_SS in areas]
    things = []
    for i, area_SS in enumerate(areas):
        wiped_SS3 = image_SS3.copy()
        for other_SS in edged[:i] + edged[i + 1 :]:
            wiped_SS3[other_SS & ~edged[i]] = 0
        commonest = int(np.bincount(colour_SS[area_SS]).argmax())
        things.append(_thing(area_SS, wiped_SS3, commonest))
    return things


def _with_edge(area_SS: np.ndarray) -> np.ndarray:
    """Dilate an area by one pixel."""
    padded = np.pad(area_SS, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    return rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]


def _thing(area_SS: np.ndarray, image_SS3: np.ndarray, commonest: int) -> DetectedShape:
    """Match the pixels around an area with all stamps; the commonest colour is used if none is near."""
    bank = _bank()
    top, left = (int(at.min() + at.max() + 1 - _WINDOW) // 2 for at in np.nonzero(area_SS))
    padded = np.pad(image_SS3, ((_WINDOW, _WINDOW), (_WINDOW, _WINDOW), (0, 0)))
    window_WW3 = padded[top + _WINDOW :, left + _WINDOW :][:_WINDOW, :_WINDOW]
    light_P = window_WW3[..., 0].ravel()
    hue_P2 = np.stack([_blurred(window_WW3[..., i], _HUE_BLUR).ravel() for i in (1, 2)], -1)
    # |window - stamp x direction|^2 of every stamp and colour, as a share of |window|^2
    dot_KC = np.outer(bank.light_KP @ light_P, _DIRECTIONS_C3[:, 0]) + bank.hue_KP @ hue_P2 @ _DIRECTIONS_C3[:, 1:].T
    misfit_KC = 1 + (bank.square_KC - 2 * dot_KC) / max(float((light_P**2).sum() + (hue_P2**2).sum()), 1e-6)
    best, colour = divmod(int(misfit_KC.argmin()), len(COLOURS))
    misfit = min(max(float(misfit_KC[best, colour]), 0.0), 1.0)
    size, shape = bank.names[best]
    if misfit > _WORST_MISFIT:
        shape, colour = UNCLEAR, commonest
    row, column = bank.middles[best]
    return DetectedShape(Thing(size, list(COLOURS)[colour], shape), top + row, left + column, misfit)


class _Bank(NamedTuple):
    """Stamps of all shapes, sizes, offsets and blurs, as lightness and as hue in a window.

    Attributes:
        names: (size, shape) of each stamp.
        middles: (row, column) of each stamp.
        light_KP: lightness.
        hue_KP: hue, more blurred.
        square_KC: squared norm of each stamp in each colour.
    """

    names: list[tuple[str, str]]
    middles: list[tuple[float, float]]
    light_KP: np.ndarray
    hue_KP: np.ndarray
    square_KC: np.ndarray


@cache
def _bank() -> _Bank:
    names, middles, light, hue = [], [], [], []
    for side, shape, blur, down, right in product(_SIDES, SHAPES, _BLURS, _SHIFTS, _SHIFTS):
        first = (_WINDOW - side) // 2
        placed_WW = np.zeros((_WINDOW, _WINDOW))
        placed_WW[first : first + side, first : first + side] = stamp(shape, side)
        placed_WW = _shift(down) @ placed_WW @ _shift(right).T
        light.append(_blurred(placed_WW, blur).ravel())
        hue.append(_blurred(placed_WW, float(np.hypot(blur, _HUE_BLUR))).ravel())
        names.append((min(SIZES, key=lambda size: abs(SIZES[size] - side)), shape))
        middles.append((first + down + side / 2, first + right + side / 2))
    light_KP, hue_KP = np.array(light, np.float32), np.array(hue, np.float32)
    square_KC = np.outer((light_KP**2).sum(1), _DIRECTIONS_C3[:, 0] ** 2)
    square_KC += np.outer((hue_KP**2).sum(1), (_DIRECTIONS_C3[:, 1:] ** 2).sum(1))
    return _Bank(names, middles, light_KP, hue_KP, square_KC)


def _shift(pixels: float) -> np.ndarray:
    """Return the matrix [W, W] that moves a column of pixels down, by halves through the mean of neighbours."""
    steps = int(np.floor(pixels))
    part = pixels - steps
    return (1 - part) * np.eye(_WINDOW, k=-steps) + part * np.eye(_WINDOW, k=-steps - 1)


def _blurred(channel_WW: np.ndarray, blur: float) -> np.ndarray:
    """Blur a channel [W, W] by a Gaussian; `blur` is its standard deviation in pixels."""
    if not blur:
        return channel_WW
    spread_WW = _gaussian(blur)
    return spread_WW @ channel_WW @ spread_WW.T


@cache
def _gaussian(deviation: float) -> np.ndarray:
    """Return the matrix [W, W] that blurs a column of pixels."""
    at = np.arange(_WINDOW, dtype=np.float32)
    weights_WW = np.exp(-((at[:, None] - at) ** 2) / (2 * deviation**2))
    return weights_WW / weights_WW.sum(1, keepdims=True)
