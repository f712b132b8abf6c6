"""The Lightning data module of picture codecs: a folder of pictures as batches of bytes."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from torch import Tensor

from helicon.data.files import DataError
from helicon.data.prepare import Source
from helicon.data.raw import PictureBatches, Pictures
from helicon.training.loaders import chunks
from helicon.training.raw_data import RawData


class CodecData(RawData):
    """Any folder of pictures, searched recursively, read once into a cache; batch t is a function of (data, seed, t).

    Args:
        path: folder (or one file) to train on.
        size: pixels each way that pictures are scaled and cropped to.
        batch_size: pictures a step, over all processes.
        seed: of batches and noise.
        held_out: share of the files, by a hash of their names, that is never trained on.
        mirror: whether half of the pictures are turned around at random.
        manifest: CSV or JSONL with a column file, instead of searching the folder.
        workers: loader processes; results do not depend on their number.
        cache: folder of the cache; $HELICON_CACHE or the user's cache folder unless given.
    """

    medium = "image"

    def __init__(
        self,
        path: str,
        size: int = 64,
        batch_size: int = 32,
        seed: int = 0,
        held_out: float = 0.05,
        mirror: bool = True,
        manifest: str | None = None,
        workers: int = 0,
        cache: str | None = None,
    ) -> None:
        if size < 1:
            raise DataError(f"--data.size must be 1 or more, got {size}")
        source = Source(
            Path(path), (self.medium,), {self.medium: "rgb"}, {"size": size},
            Path(manifest) if manifest else None, held_out, Path(cache) if cache else None,
        )  # fmt: skip
        super().__init__(source, batch_size, seed, workers)
        self.size, self.mirror = size, mirror

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
        return PictureBatches(self.pictures, self.batch_size, self.seed, self.mirror, rank, world)

    def held_batches(self) -> list[Tensor]:
        """All held-out pictures."""
        return [self.pictures.batch(group) for group in chunks(self.held.tolist(), self.batch_size)]
