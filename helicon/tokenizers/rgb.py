"""RGB tokenizer of pictures: one token for each channel of a pixel, as in Sparse Transformers (arXiv:1904.10509)."""

from __future__ import annotations

from typing import Any

import numpy as np

from helicon.formats.checked import fields, integer, text
from helicon.formats.image_pixels import check_pixels
from helicon.sequence.vocabulary import TokenBlock
from helicon.tokenizers.abilities import AugmentedByMedia, Grid
from helicon.tokenizers.base import check_ids
from helicon.tokenizers.pixels import MAX_PIXELS, SIZE

VALUES = 256  # of 8 bits
WHITE = 255  # value of missing pixels


class RgbTokenizer(AugmentedByMedia[np.ndarray], Grid):
    """Tokenizer of pictures of `size` columns to values `0` .. `255`, row by row, red, green and blue interleaved."""

    def __init__(self, size: int = SIZE, block: str = "image") -> None:
        self.block = TokenBlock(block, tuple(map(str, range(VALUES))))
        self.shape = (size, size, 3)  # rows, columns, channels of a whole picture
        self.read_options = {"size": size}

    def encode(self, media: np.ndarray) -> np.ndarray:
        """Encode a picture NumPy uint8 [rows, size, 3], 1 .

        Size rows, to ids int64 [rows * size * 3], else ValueError.
        """
        return check_picture(media, self.shape[1]).astype(np.int64).ravel()

    def decode(self, ids: np.ndarray) -> np.ndarray:
        """Decode any ids NumPy int64 [T] to a picture uint8 [rows, size, 3], padded with white.

        ValueError for other ids.
        """
        return rows_of(check_ids(ids, VALUES).astype(np.uint8), self.shape[1])

    def units(self, ids: np.ndarray) -> dict[str, float]:
        """Count the units of a loss on local ids, NumPy int64 [T]: {"dimension": T}, the number of channel values."""
        return {"dimension": float(len(ids))}

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able dict for users: `values`, their number, and `size`, pixels each way of the pictures."""
        return {"values": VALUES, **self.read_options}

    @staticmethod
    def from_state(state: dict[str, Any]) -> RgbTokenizer:
        """Restore a tokenizer from the dict that `state` returns; ValueError for anything else."""
        state = fields("state", state, ("block", "size"))  # type: ignore[assignment]
        return RgbTokenizer(integer("size", state["size"], 1, MAX_PIXELS), text("block", state["block"]))


def check_picture(picture: np.ndarray, size: int) -> np.ndarray:
    """Check the shape of a picture.

    Args:
        picture: array to be checked.
        size: number of columns, and greatest number of rows.

    Returns:
        The picture.

    Raises:
        ValueError: it is not uint8 [1 .. size, size, 3].
    """
    check_pixels(picture)
    rows, columns, _ = picture.shape
    if columns != size or rows > size:
        raise ValueError(f"a picture of {rows} rows of {columns} pixels: 1 to {size} rows of {size} are accepted")
    return picture


def rows_of(values: np.ndarray, size: int) -> np.ndarray:
    """Arrange values in rows of pixels.

    Args:
        values: N channel values, NumPy uint8 [N], red, green and blue interleaved.
        size: number of columns.

    Returns:
        Picture NumPy uint8 [rows, size, 3], the last row padded with white.
    """
    rows = -(-len(values) // (size * 3))
    picture = np.full(rows * size * 3, WHITE, np.uint8)
    picture[: len(values)] = values
    return picture.reshape(rows, size, 3)
