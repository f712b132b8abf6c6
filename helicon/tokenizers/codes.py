"""Codes of a learned codec as tokens: what wraps a network of `vqvae` into a tokenizer.

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

# Of the pictures that a codec takes at once, on which what comes out does not depend: on a CPU as its caches hold
CPU_PIXELS, GPU_PIXELS = 1 << 16, 1 << 22


class GridCodec(Protocol):
    """A network whose codes are tokens; see `helicon.vqvae.codec`."""

    @property
    def codebook_size(self) -> int: ...
    def encode(self, media: Tensor) -> Tensor: ...
    def decode(self, codes: Tensor) -> Tensor: ...


class CodesTokenizer(CodecTokenizer[np.ndarray], Grid):
    """Pictures of `size` pixels each way to rows of codes, each standing for `factor` pixels each way, and back.

    A picture is uint8 [rows * factor, size, 3]; ValueError for other sizes. A last row of codes that is not whole ends
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
        """The same for another slot; ValueError for a level that is not the only one."""
        if level not in (0, -1):
            raise ValueError(f"level {level}: a codec of pictures has one level")
        return CodesTokenizer(self.codec, self.size, self.factor, self._config, self._weights, block)

    def encode_many(self, media: Sequence[np.ndarray]) -> list[np.ndarray]:
        """`encode` of each."""
        for picture in media:
            check_pixels(picture)
            rows, columns, _ = picture.shape
            if columns != self.size or rows > self.size or rows % self.factor:
                wanted = f"{self.size} columns and a multiple of {self.factor} rows up to {self.size}"
                raise ValueError(f"a picture of {rows} rows of {columns} pixels: {wanted} are accepted")
        found: list[np.ndarray] = []
        for group in alike(media, self._at_a_time):
            codes_Bhw = self.codec.encode(pixels_to_tensor(stacked(group).to(self.device)))
            found += list(codes_Bhw.flatten(1).cpu().numpy())
        return found

    def decode_many(self, ids: Sequence[np.ndarray]) -> list[np.ndarray]:
        """`decode` of each, many at once on the codec's device."""
        columns = self.shape[1]
        grids = []
        for each in ids:
            local = check_ids(each, len(self.block))
            grid = np.zeros(-(-len(local) // columns) * columns, np.int64)
            grid[: len(local)] = local
            grids.append(grid.reshape(-1, columns))
        found: list[np.ndarray] = []
        for group in alike(grids, self._at_a_time):
            if not len(group[0]):
                found += [np.zeros((0, self.size, 3), np.uint8) for _ in group]
                continue
            codes_Bhw = torch.from_numpy(np.stack(group)).to(self.device)
            found += list(tensor_to_pixels(self.codec.decode(codes_Bhw)))
        return found

    @property
    def _at_a_time(self) -> int:
        """Pictures that go through the codec together."""
        return max(1, (CPU_PIXELS if self.device.type == "cpu" else GPU_PIXELS) // self.size**2)

    def units(self, ids: np.ndarray) -> dict[str, float]:
        """Amounts that a loss is told by."""
        return {"pixel": float(len(ids) * self.factor**2), "dimension": float(len(ids) * self.factor**2 * 3)}

    def describe(self) -> dict[str, Any]:
        """For people."""
        return {**self.read_options, **super().describe()}


def alike(arrays: Sequence[np.ndarray], most: int) -> list[list[np.ndarray]]:
    """Neighbours of one shape together, at most so many."""
    groups: list[list[np.ndarray]] = []
    for array in arrays:
        if groups and groups[-1][0].shape == array.shape and len(groups[-1]) < most:
            groups[-1].append(array)
        else:
            groups.append([array])
    return groups
