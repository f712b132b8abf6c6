"""Pictures as raw values: one token a channel of a pixel, as in Sparse Transformers (Child et al. 2019)."""

from __future__ import annotations

from typing import Any

import numpy as np

from helicon.formats.checked import fields, text, whole
from helicon.formats.image_pixels import check_pixels
from helicon.sequence.vocabulary import TokenBlock
from helicon.tokenizers.abilities import AugmentedByMedia, Grid
from helicon.tokenizers.base import check_ids
from helicon.tokenizers.pixels import MOST_PIXELS, SIZE

VALUES = 256
WHITE = 255


class RgbTokenizer(AugmentedByMedia[np.ndarray], Grid):
    """Pictures of `size` columns to values `0` .. `255`, row by row, red, green and blue of each pixel in turn."""

    def __init__(self, size: int = SIZE, block: str = "image") -> None:
        self.block = TokenBlock(block, tuple(map(str, range(VALUES))))
        self.shape = (size, size, 3)  # rows, columns, channels of a whole picture
        self.read_options = {"size": size}

    def encode(self, media: np.ndarray) -> np.ndarray:
        """int64 [rows * size * 3] of uint8 [rows, size, 3], 1 .. size rows; ValueError for any other shape."""
        return check_picture(media, self.shape[1]).astype(np.int64).ravel()

    def decode(self, ids: np.ndarray) -> np.ndarray:
        """uint8 [rows, size, 3] of any number of ids, the last row filled up with white; ValueError for other ids."""
        return rows_of(check_ids(ids, VALUES).astype(np.uint8), self.shape[1])

    def units(self, ids: np.ndarray) -> dict[str, float]:
        """Amounts that a loss is told by."""
        return {"dimension": float(len(ids))}

    def describe(self) -> dict[str, Any]:
        """For people: the size of its pictures."""
        return {"values": VALUES, **self.read_options}

    @staticmethod
    def from_state(state: dict[str, Any]) -> RgbTokenizer:
        """Inverse of `state`."""
        state = fields("state", state, ("block", "size"))  # type: ignore[assignment]
        return RgbTokenizer(whole("size", state["size"], 1, MOST_PIXELS), text("block", state["block"]))


def check_picture(picture: np.ndarray, size: int) -> np.ndarray:
    """The picture; ValueError unless it is uint8 [1 .. size, size, 3]."""
    check_pixels(picture)
    rows, columns, _ = picture.shape
    if columns != size or rows > size:
        raise ValueError(f"a picture of {rows} rows of {columns} pixels: 1 to {size} rows of {size} are accepted")
    return picture


def rows_of(values: np.ndarray, size: int) -> np.ndarray:
    """uint8 [rows, size, 3] of uint8 values in a row, as many rows as they begin; what is missing is white."""
    rows = -(-len(values) // (size * 3))
    picture = np.full(rows * size * 3, WHITE, np.uint8)
    picture[: len(values)] = values
    return picture.reshape(rows, size, 3)
