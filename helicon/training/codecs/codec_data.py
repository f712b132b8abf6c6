"""The Lightning data module of picture codecs: a folder of pictures as batches of bytes."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor

from helicon.data.config import ImageDataConfig
from helicon.data.raw import PictureBatches, Pictures
from helicon.training.codecs.raw_data import RawData
from helicon.training.learning.loaders import chunks


class CodecData(RawData):
    """A folder of pictures, searched recursively, read once into a cache; batch t is a function of (data, seed, t)."""

    medium = "image"

    def __init__(self, config: ImageDataConfig) -> None:
        super().__init__(config, "rgb", {"size": config.size})
        self.size = config.size

    @property
    def reading(self) -> dict[str, int]:
        """Options with which files are read."""
        return {"size": self.size}

    @cached_property
    def pictures(self) -> Pictures:
        """All pictures, once prepared."""
        return Pictures(self.corpus, self.medium, self.size)

    @cached_property
    def mean(self) -> Tensor:
        """Mean of the pictures to train on, [3, size, size] of 0 .. 255: reconstructions are measured against it."""
        return self.pictures.mean(self.train)

    def make_batches(self, rank: int, world: int) -> PictureBatches:
        """Batches uint8 [B, 3, size, size]."""
        return PictureBatches(self.pictures, self.batch_size, self.seed, self.ranges, rank, world)

    def held_batches(self) -> list[Tensor]:
        """All held-out pictures."""
        return [self.pictures.batch(group) for group in chunks(self.val.tolist(), self.batch_size)]
