"""Lightning data module of image codecs: a folder of pictures as batches of pixels."""

from __future__ import annotations

from functools import cached_property

from torch import Tensor

from helicon.data.config import ImageDataConfig
from helicon.data.raw import PictureBatches, Pictures
from helicon.training.codecs.raw_data import RawData
from helicon.training.learning.loaders import chunks


class ImageData(RawData):
    """Data module of image codecs: the pictures of a folder; batch t is a function of (data, seed, t).

    The folder is searched recursively and read once into a cache.

    Attributes:
        size: pixels of each side of a picture.
    """

    medium = "image"

    def __init__(self, config: ImageDataConfig) -> None:
        super().__init__(config, "rgb", {"size": config.size})
        self.size = config.size

    @property
    def reading(self) -> dict[str, int]:
        """Options with which picture files are read, as a codec stores them: `size`, pixels of each side."""
        return {"size": self.size}

    @cached_property
    def pictures(self) -> Pictures:
        """`Pictures` of the folder, training and held out; available once prepared."""
        return Pictures(self.corpus, self.medium, self.size)

    @cached_property
    def mean(self) -> Tensor:
        """Mean training picture, RGB 0 .. 255, float64 [3, size, size]: the baseline of `val/loss`."""
        return self.pictures.mean(self.train)

    def make_batches(self, rank: int, world: int) -> PictureBatches:
        """Make the batches of training pictures.

        Args:
            rank: of this process.
            world: number of processes.

        Returns:
            `PictureBatches` of RGB 0 .. 255, uint8 [B, 3, size, size].
        """
        return PictureBatches(self.pictures, self.batch_size, self.seed, self.ranges, rank, world)

    def make_val_batches(self) -> list[Tensor]:
        """Load all held-out pictures as a list of batches, RGB 0 .. 255, uint8 [B, 3, size, size]."""
        return [self.pictures.batch(group) for group in chunks(self.val.tolist(), self.batch_size)]
