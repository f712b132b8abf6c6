"""Checker of the world of shapes: compares a picture with its caption, word by word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from helicon.demos.shape_reader import DetectedShape, read_scene, relation
from helicon.demos.shapes import COLOURS, RELATIONS, SHAPES, SIZES, Scene

# What is right in a picture of a scene drawn at random, whatever was asked for. A colour may be that of either thing;
# where neither of the colours asked for is there, the relation counts as wrong.
_EITHER = 2 / len(COLOURS)
CHANCE = {
    "first_size": 1 / len(SIZES),
    "first_colour": _EITHER,
    "first_shape": 1 / len(SHAPES),
    "relation": (1 - (1 - _EITHER) * (1 - 2 / (len(COLOURS) - 1))) / len(RELATIONS),
    "second_size": 1 / len(SIZES),
    "second_colour": _EITHER,
    "second_shape": 1 / len(SHAPES),
    "all_right": _EITHER / (len(COLOURS) - 1) / len(RELATIONS) / (len(SIZES) * len(SHAPES)) ** 2,
}


def score(pixels: np.ndarray, scene: Scene) -> dict[str, bool]:
    """Compare a picture with a scene; `CHANCE` has the accuracy of guessing.

    Args:
        pixels: NumPy uint8 [S, S, 3], S pixels each way.
        scene: the expected `Scene`.

    Returns:
        By name of each word, as by `obeys`: True if it is right.
    """
    return obeys(read_scene(pixels), scene)


def obeys(things: Sequence[DetectedShape], scene: Scene) -> dict[str, bool]:
    """Compare detected shapes with a scene.

    A thing is matched by its colour, if just one detected shape has that colour. If only one of two is matched, the
    other shape stands for the other thing; if neither is, they are assigned as the relation has them. The relation
    needs two shapes, one of them matched by colour.

    Args:
        things: `DetectedShape`s of a picture.
        scene: the expected `Scene`.

    Returns:
        By name: True if it is right. The names are first_size, first_colour, first_shape, relation, second_size,
        second_colour and second_shape; and all_right.
    """
    first, second = (_only(things, thing.colour) for thing in (scene.first, scene.second))
    by_colour, two = first is not None or second is not None, len(things) == 2
    if two:
        shape_a, shape_b = things
        if not by_colour:
            first, second = (shape_a, shape_b) if relation(shape_a, shape_b) == scene.relation else (shape_b, shape_a)
        first = first or (shape_b if second is shape_a else shape_a)
        second = second or (shape_b if first is shape_a else shape_a)
    right = {
        f"{which}_{word}": seen is not None and getattr(seen.thing, word) == getattr(named, word)
        for which, named, seen in (("first", scene.first, first), ("second", scene.second, second))
        for word in ("size", "colour", "shape")
    }
    placed = first is not None and second is not None and relation(first, second) == scene.relation
    right["relation"] = two and by_colour and placed
    right["all_right"] = all(right.values())
    return {name: right[name] for name in CHANCE}


def _only(things: Sequence[DetectedShape], colour: str) -> DetectedShape | None:
    """Return the detected shape of a colour, if there is just one."""
    matches = [seen for seen in things if seen.thing.colour == colour]
    return matches[0] if len(matches) == 1 else None
