"""World of shapes: pictures of two coloured shapes, with captions that name both and their relation.

Shapes: S height and width of a picture, 32, N of a stamp, in pixels; 3 channels: red, green, blue.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
from einops import reduce
from PIL import Image

from helicon.demos.captions import check_word, fifth, read_words, write_captioned

BACKGROUND = (248, 247, 243)  # red, green and blue, 0 .. 255
COLOURS = {  # red, green and blue, 0 .. 255
    "red": (206, 28, 48),
    "orange": (244, 112, 16),
    "yellow": (246, 198, 10),
    "green": (40, 150, 60),
    "cyan": (44, 190, 216),
    "blue": (40, 80, 214),
    "purple": (142, 60, 180),
    "black": (30, 30, 34),
}
# Which points are inside a shape; x to the right, y down, both -1 to 1 in the shape's box.
SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": lambda x, y: x**2 + y**2 <= 1,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) <= 1,
    "triangle": lambda x, y: abs(x) <= (y + 1) / 2,
    "diamond": lambda x, y: abs(x) + abs(y) <= 1,
    "cross": lambda x, y: np.minimum(abs(x - y), abs(x + y)) <= 0.4,
    "ring": lambda x, y: abs((x**2 + y**2) ** 0.5 - 0.75) <= 0.25,
}
SIZES = {"small": 9, "large": 14}  # sides of a shape's box, in pixels
OPPOSITES = {"above": "below", "below": "above", "left of": "right of", "right of": "left of"}
RELATIONS = tuple(OPPOSITES)

SIDE = 32  # of a picture
_SUBSAMPLES = 8  # a pixel's side is sampled at that many places


@dataclass(frozen=True)
class Thing:
    """Size, colour and shape of a thing in a picture."""

    size: str
    colour: str
    shape: str

    def __str__(self) -> str:
        return f"{self.size} {self.colour} {self.shape}"


THINGS = tuple(Thing(*words) for words in product(SIZES, COLOURS, SHAPES))


@dataclass(frozen=True)
class Scene:
    """Two things of different colours, and the position of the first relative to the second.

    Raises:
        ValueError: a word is unknown, or the colours are equal.
    """

    first: Thing
    relation: str
    second: Thing

    def __post_init__(self) -> None:
        for thing in (self.first, self.second):
            check_word("size", thing.size, SIZES)
            check_word("colour", thing.colour, COLOURS)
            check_word("shape", thing.shape, SHAPES)
        check_word("relation", self.relation, RELATIONS)
        if self.first.colour == self.second.colour:
            raise ValueError(f"both things are {self.first.colour}; their colours must differ")

    @property
    def caption(self) -> str:
        """Caption, such as "a large red circle above a small blue square"."""
        return f"a {self.first} {self.relation} a {self.second}"

    @property
    def turned(self) -> Scene:
        """The `Scene` of the same picture, described from its second thing."""
        return Scene(self.second, OPPOSITES[self.relation], self.first)


EXAMPLE = "a large red circle above a small blue square"
_THING = f"a ({'|'.join(SIZES)}) ({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})"
_CAPTION = re.compile(f"{_THING} ({'|'.join(RELATIONS)}) {_THING}")


def parse_caption(text: str) -> Scene:
    """Parse a text such as "a large red circle above a small blue square" into a `Scene`.

    Raises:
        ValueError: the text is not a caption.
    """
    words = read_words(_CAPTION, text, EXAMPLE, (*SIZES, *COLOURS, *SHAPES, *RELATIONS))
    return Scene(Thing(*words[:3]), words[3], Thing(*words[4:]))


def draw(scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Draw a scene at random positions that fit its relation.

    Args:
        scene: `Scene` to draw.
        rng: NumPy generator of the positions.

    Returns:
        Pixels NumPy uint8 [32, 32, 3].
    """
    ordered = scene if scene.relation in ("above", "left of") else scene.turned  # begins at the top or left
    stamps = [stamp(thing.shape, SIZES[thing.size]) for thing in (ordered.first, ordered.second)]
    positions = _positions(len(stamps[0]), len(stamps[1]))
    picture_SS3 = np.full((SIDE, SIDE, 3), BACKGROUND, np.float64)
    for stamp_NN, thing, (at, aside) in zip(
        stamps, (ordered.first, ordered.second), positions[rng.integers(len(positions))]
    ):
        row, column = (at, aside) if ordered.relation == "above" else (aside, at)
        under = picture_SS3[row : row + len(stamp_NN), column : column + len(stamp_NN)]
        under += stamp_NN[..., None] * (COLOURS[thing.colour] - under)
    return picture_SS3.round().astype(np.uint8)


@cache
def _positions(first: int, second: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return corners of two stamps of these lengths: (along, across) the line that both stand on, for each stamp.

    Each stamp is in the middle of a cell, half a side long, and cells begin at quarters of a side: so few positions
    that a small codec has codes for the content of each.
    """
    cell, step = SIDE // 2, SIDE // 4
    at = [(cell - length) // 2 for length in (first, second)]
    return [((at[0], aside + at[0]), (cell + at[1], aside + at[1])) for aside in range(0, cell + 1, step)]


@cache
def stamp(shape: str, side: int) -> np.ndarray:
    """Return a shape's coverage of pixels.

    Args:
        shape: name, of `SHAPES`, such as `circle`.
        side: N, height and width in pixels.

    Returns:
        Covered share of each pixel, NumPy float [N, N] in 0 .. 1, cached and read only.
    """
    at = (np.arange(side * _SUBSAMPLES) + 0.5) / (side * _SUBSAMPLES) * 2 - 1
    inside = SHAPES[shape](at[None, :], at[:, None])
    covered_NN = reduce(inside.astype(float), "(y i) (x j) -> y x", "mean", i=_SUBSAMPLES, j=_SUBSAMPLES)
    covered_NN.setflags(write=False)
    return covered_NN


# A fifth of the combinations of a thing with where it is
HELD_OUT = fifth(product(THINGS, RELATIONS), lambda pair: f"{pair[0]} {pair[1]}")


def is_held_out(scene: Scene) -> bool:
    """Return True if either thing of a `Scene` has a relation to the other in which no training scene shows it."""
    return any((view.first, view.relation) in HELD_OUT for view in (scene, scene.turned))


def training_scene(rng: np.random.Generator) -> Scene:
    """Draw a `Scene`, uniformly from those that are not held out, from a NumPy generator."""
    return _scene(rng, held_out=False)


def held_out_scene(rng: np.random.Generator) -> Scene:
    """Draw a `Scene`, uniformly from the held-out ones, from a NumPy generator."""
    return _scene(rng, held_out=True)


def _scene(rng: np.random.Generator, held_out: bool) -> Scene:
    while True:
        first, second = (THINGS[i] for i in rng.integers(len(THINGS), size=2))
        relation = RELATIONS[rng.integers(len(RELATIONS))]
        if first.colour != second.colour and is_held_out(scene := Scene(first, relation, second)) == held_out:
            return scene


def write_folder(folder: str | os.PathLike[str], pictures: int, seed: int) -> list[Path]:
    """Write training scenes as `folder/00001.png` with captions `00001.txt`, and on.

    Args:
        folder: path of the target, created if necessary.
        pictures: number of pictures.
        seed: the same seed gives the same files.

    Returns:
        Paths of the pictures.
    """

    def make(path: Path, rng: np.random.Generator) -> str:
        scene = training_scene(rng)
        Image.fromarray(draw(scene, rng)).save(path)
        return scene.caption

    return write_captioned(folder, pictures, seed, ".png", make)
