"""Palette tokenizer of pictures: the nearest colour for each pixel, no dithering (iGPT, Chen et al. 2020).

The palette is fitted to pictures by k-means on (red, green, blue), each in [-1, 1]: v / 127.5 - 1. iGPT has 512
colours.

Shapes: N pixels or colours, K colours of the palette.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np

from helicon.formats.checked import fields, integer, number, sequence, text
from helicon.formats.printable import printable
from helicon.sequence.vocabulary import TokenBlock
from helicon.tokenizers.abilities import AugmentedByMedia, Grid
from helicon.tokenizers.base import check_ids
from helicon.tokenizers.clusters import LEVELS, NearestCentroid, NearestTable, fit_colours, pack, unpack
from helicon.tokenizers.pixels import MAX_PIXELS
from helicon.tokenizers.rgb import check_picture, rows_of

MAX_COLOURS = 4096  # of a palette; iGPT has 512
RANGE = (-1.0, 1.0)  # of the centroids, from black to white
LUMA = (0.299, 0.587, 0.114)  # weights of red, green and blue in brightness, ITU-R BT.601


class PaletteTokenizer(AugmentedByMedia[np.ndarray], Grid):
    """Tokenizer of pictures of `size` columns to the nearest colours of a palette, `c000` and so on, row by row.

    A fitted palette has K different uint8 colours, each of which is coded by itself; in a palette from elsewhere two
    centroids may round to one colour.
    """

    def __init__(self, centroids: np.ndarray, size: int, block: str = "image") -> None:
        """Make a tokenizer of a palette.

        Args:
            centroids: [K, 3] in [-1, 1], K up to 4096; stored as float32.
            size: columns, and rows of a complete picture.
            block: name of the token block.

        Raises:
            ValueError: centroids of another shape or range.
        """
        self.centroids = np.array(centroids, np.float32)
        if self.centroids.ndim != 2 or self.centroids.shape[1] != 3 or not 1 <= len(self.centroids) <= MAX_COLOURS:
            raise ValueError(f"centroids of shape {list(self.centroids.shape)}: [1 .. {MAX_COLOURS}, 3] is accepted")
        if not (np.abs(self.centroids) <= 1).all():
            raise ValueError(f"centroids must be within {list(RANGE)}: value / 127.5 - 1 of each channel")
        self.colours = shown(self.centroids)  # uint8 [K, 3]
        digits = len(str(len(self.colours) - 1))
        self.block = TokenBlock(block, tuple(f"c{i:0{digits}}" for i in range(len(self.colours))))
        self.shape = (size, size)  # rows, columns of a whole picture
        self.read_options = {"size": size}
        self._key = self.centroids.tobytes()  # not the table itself: it is large, and generating often needs none

    @staticmethod
    def fit(samples: Iterable[np.ndarray], size: int, colours: int = 512, seed: int = 0) -> PaletteTokenizer:
        """Fit a palette to pixels.

        Args:
            samples: some pixels of each picture, NumPy uint8 [N, 3], N pixels.
            size: columns, and rows of a complete picture, in pixels.
            colours: number of colours of the palette, 1 .. 4096; fewer result where the samples have fewer.
            seed: of k-means.

        Returns:
            Tokenizer with colours from dark to light.

        Raises:
            ValueError: no pixels, or a number of colours outside 1 .. 4096.
        """
        if not 1 <= colours <= MAX_COLOURS:
            raise ValueError(f"colours must be 1 .. {MAX_COLOURS}, got {colours}")
        unique_N3, weights_N = _counted(samples)
        if not len(unique_N3):
            raise ValueError("no pixels to fit a palette to")
        centroids_K3 = LEVELS[unique_N3]
        if len(unique_N3) > colours:
            centroids_K3 = fit_colours(unique_N3, weights_N, colours, seed)
            centroids_K3 = _separated(centroids_K3.astype(np.float32), unique_N3, weights_N)
        return PaletteTokenizer(centroids_K3[np.argsort(centroids_K3 @ LUMA, kind="stable")], size)

    def encode(self, media: np.ndarray) -> np.ndarray:
        """Encode a picture NumPy uint8 [rows, size, 3], 1 .. size rows, to ids int64 [rows * size].

        ValueError for others.
        """
        return _table(self._key)(check_picture(media, self.shape[1]).reshape(-1, 3))

    def decode(self, ids: np.ndarray) -> np.ndarray:
        """Decode any ids NumPy int64 [T] to a picture uint8 [rows, size, 3], padded with white.

        ValueError for other ids.
        """
        return rows_of(self.colours[check_ids(ids, len(self.block))].ravel(), self.shape[1])

    def units(self, ids: np.ndarray) -> dict[str, float]:
        """Count the units in which a loss on local ids NumPy int64 [T] is reported: {"pixel": T}."""
        return {"pixel": float(len(ids))}

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able dict for users: `colours`, their number, and `size`, pixels each way of the pictures."""
        return {"colours": len(self.block), **self.read_options}

    def state(self) -> dict[str, Any]:
        """Return the state, a JSON-able dict that `from_state` restores; its decimals restore float32 exactly."""
        palette = {"range": list(RANGE), "centroids": self.centroids.tolist()}
        return {**super().state(), **palette}

    @staticmethod
    def from_state(state: dict[str, Any]) -> PaletteTokenizer:
        """Restore a tokenizer from the dict that `state` returns; ValueError for anything else."""
        state = fields("state", state, ("block", "size", "range", "centroids"))  # type: ignore[assignment]
        if tuple(sequence("range", state["range"], 2)) != RANGE:
            raise ValueError(f"the palette's range must be {list(RANGE)}, got {printable(state['range'], 80)}")
        rows = [sequence("colour", row, 3) for row in sequence("centroids", state["centroids"], MAX_COLOURS)]
        centroids = np.array([[number("colour", value, *RANGE) for value in row] for row in rows], np.float32)
        return PaletteTokenizer(centroids, integer("size", state["size"], 1, MAX_PIXELS), text("block", state["block"]))


def sample_pixels(picture: np.ndarray, count: int = 1024) -> np.ndarray:
    """Sample pixels of a picture, the same ones on each call.

    Args:
        picture: NumPy uint8 [rows, columns, 3].
        count: greatest number of pixels.

    Returns:
        Pixels NumPy uint8 [N, 3], N = count, or all pixels where there are fewer.
    """
    pixels_N3 = picture.reshape(-1, 3)
    if len(pixels_N3) <= count:
        return pixels_N3
    return pixels_N3[np.random.default_rng(0).choice(len(pixels_N3), count, replace=False, shuffle=False)]


def shown(centroids_K3: np.ndarray) -> np.ndarray:
    """Round K centroids, NumPy float [K, 3] in [-1, 1], to colours uint8 [K, 3]."""
    return np.rint(127.5 * (centroids_K3.astype(np.float64) + 1)).astype(np.uint8)


@lru_cache(maxsize=2)  # tokenizers of equal palettes share one
def _table(centroids: bytes) -> NearestTable:
    return NearestTable(np.frombuffer(centroids, np.float32).reshape(-1, 3))


def _counted(samples: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct colours of all samples, uint8 [N, 3], and the pixels of each, int64 [N]."""
    counts = np.zeros(1 << 24, np.int64)
    for sample in samples:
        codes, times = np.unique(pack(sample), return_counts=True)
        counts[codes] += times
    codes_N = np.flatnonzero(counts)
    return unpack(codes_N), counts[codes_N]


def _separated(centroids_K3: np.ndarray, colours_N3: np.ndarray, weights_N: np.ndarray) -> np.ndarray:
    """Move centroids until they round to K different colours, each nearest to its own centroid; float32 [K, 3].

    Of centroids that round to one colour the first stays; the others move to the colours that cost most. A centroid
    whose colour is nearer to another centroid moves to that colour exactly, which cannot conflict: colours are at least
    a level apart, a centroid and its colour less than one.
    """
    shown_k3, first_k = np.unique(shown(centroids_K3), axis=0, return_index=True)
    _, distances_N = NearestCentroid(LEVELS[shown_k3])(colours_N3)
    added = np.argsort(-weights_N * distances_N, kind="stable")[: len(centroids_K3) - len(shown_k3)]
    kept_k3 = centroids_K3[first_k]
    strays_k = NearestCentroid(kept_k3)(shown_k3)[0] != np.arange(len(kept_k3))
    kept_k3[strays_k] = LEVELS[shown_k3[strays_k]]
    return np.concatenate([kept_k3, LEVELS[colours_N3[added]].astype(np.float32)])
