"""Tokenizer of an image codec's codes: wraps a network of `vqvae`.

Shapes: B pictures, C channels, H x W pixels, h x w codes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from helicon.formats.image_pixels import check_pixels
from helicon.tokenizers.abilities import Grid
from helicon.tokenizers.base import check_ids
from helicon.tokenizers.codec import CodecTokenizer
from helicon.tokenizers.pixels import pixels_to_tensor, stacked, tensor_to_pixels

# Pixels of all pictures of a batch, on which the result does not depend: on a CPU as many as its caches hold
CPU_PIXELS, GPU_PIXELS = 1 << 16, 1 << 22


class GridCodec(Protocol):
    """Interface of a network whose codes are tokens; see `helicon.vqvae.codec`."""

    @property
    def codebook_size(self) -> int: ...
    def encode(self, media: Tensor) -> Tensor: ...
    def decode(self, codes: Tensor) -> Tensor: ...


class CodesTokenizer(CodecTokenizer[np.ndarray], Grid):
    """Tokenizer of pictures of `size` columns to rows of codes, one for each square of `factor` x `factor` pixels.

    A picture is uint8 [rows * factor, size, 3]; ValueError for other sizes. An incomplete last row of codes is padded
    with code 0.
    """

    def __init__(
        self, codec: GridCodec, size: int, factor: int, config: Mapping[str, Any], weights: Mapping[str, Tensor],
        block: str = "image",
    ) -> None:  # fmt: skip
        if size % factor:
            raise ValueError(f"pictures of {size} pixels are no multiple of the codec's {factor}")
        super().__init__(codec, codec.codebook_size, config, weights, block)
        self.size, self.factor = size, factor
        self.shape = (size // factor, size // factor)
        self.read_options = {"size": size}

    def at_level(self, level: int, block: str) -> CodesTokenizer:
        """Return the same tokenizer for another slot.

        Args:
            level: 0 or -1, as an image codec has one level.
            block: name of the token block, which is the slot's.

        Returns:
            A tokenizer that shares the codec.

        Raises:
            ValueError: another level.
        """
        if level not in (0, -1):
            raise ValueError(f"level {level}: a codec of pictures has one level")
        return CodesTokenizer(self.codec, self.size, self.factor, self._config, self._weights, block)

    def encode_many(self, media: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Encode pictures, NumPy arrays uint8 [H, W, 3], to codes int64 [T] each, row by row.

        W is `size`, and H a multiple of `factor` up to `size`; other sizes raise ValueError. Pictures are encoded in
        batches of one shape, on the codec's device.
        """
        for picture in media:
            check_pixels(picture)
            rows, columns, _ = picture.shape
            if columns != self.size or rows > self.size or rows % self.factor:
                wanted = f"{self.size} columns and a multiple of {self.factor} rows up to {self.size}"
                raise ValueError(f"a picture of {rows} rows of {columns} pixels: {wanted} are accepted")
        ids: list[np.ndarray] = []
        for group in group_by_shape(media, self._batch_size):
            codes_Bhw = self.codec.encode(pixels_to_tensor(stacked(group).to(self.device)))
            ids += list(codes_Bhw.flatten(1).cpu().numpy())
        return ids

    def decode_many(self, ids: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Decode arrays of codes, int64 [T] each, to pictures uint8 [H, W, 3], H x W pixels.

        They are decoded in batches of one shape, on the codec's device.
        """
        columns = self.shape[1]
        grids = []
        for codes in ids:
            local = check_ids(codes, len(self.block))
            grid = np.zeros(-(-len(local) // columns) * columns, np.int64)
            grid[: len(local)] = local
            grids.append(grid.reshape(-1, columns))
        pictures: list[np.ndarray] = []
        for group in group_by_shape(grids, self._batch_size):
            if not len(group[0]):
                pictures += [np.zeros((0, self.size, 3), np.uint8) for _ in group]
                continue
            codes_Bhw = torch.from_numpy(np.stack(group)).to(self.device)
            pictures += list(tensor_to_pixels(self.codec.decode(codes_Bhw)))
        return pictures

    @property
    def _batch_size(self) -> int:
        """Pictures that are processed at a time."""
        return max(1, (CPU_PIXELS if self.device.type == "cpu" else GPU_PIXELS) // self.size**2)

    def units(self, ids: np.ndarray) -> dict[str, float]:
        """Count the units in which a loss on codes NumPy int64 [T] is reported: {"pixel": ..., "dimension": ...}.

        Dimensions are channel values, 3 a pixel.
        """
        return {"pixel": float(len(ids) * self.factor**2), "dimension": float(len(ids) * self.factor**2 * 3)}

    def describe(self) -> dict[str, Any]:
        """Return a JSON-able dict for users: `size`, in pixels, and the codec's fingerprint and config."""
        return {**self.read_options, **super().describe()}


def group_by_shape(arrays: Sequence[np.ndarray], max_size: int) -> list[list[np.ndarray]]:
    """Group neighbouring arrays of one shape.

    Args:
        arrays: of any shapes, in an order that is kept.
        max_size: greatest number of arrays in a group.

    Returns:
        Groups in order, each a list of arrays of one shape.
    """
    groups: list[list[np.ndarray]] = []
    for array in arrays:
        if groups and groups[-1][0].shape == array.shape and len(groups[-1]) < max_size:
            groups[-1].append(array)
        else:
            groups.append([array])
    return groups
