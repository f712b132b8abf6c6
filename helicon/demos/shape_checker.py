"""Says which words of a caption a picture of the world of shapes obeys."""

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
    """What of the scene a picture, uint8 [S, S, 3], shows: see `obeys`, and `CHANCE` for what guessing reaches."""
    return obeys(read_scene(pixels), scene)


def obeys(things: Sequence[DetectedShape], scene: Scene) -> dict[str, bool]:
    """Whether each word of the scene is right: first_size, ..., second_shape, relation; and all_right.

    A thing is the only one seen of its colour. If one of the two things seen is neither's, it stands for the missing
    one; if both are, they are taken as the relation has them. The relation needs two things, one found by its colour.
    """
    first, second = (_only(things, thing.colour) for thing in (scene.first, scene.second))
    by_colour, two = first is not None or second is not None, len(things) == 2
    if two:
        one, other = things
        if not by_colour:
            first, second = (one, other) if relation(one, other) == scene.relation else (other, one)
        first = first or (other if second is one else one)
        second = second or (other if first is one else one)
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
    """The one thing of that colour, if there is just one."""
    found = [seen for seen in things if seen.thing.colour == colour]
    return found[0] if len(found) == 1 else None
