"""Random changes of pictures in training: a part of them, scaled up to the whole, and their mirror image.

As DALL·E was trained (arXiv:2102.12092, appendices A.2 and B.2), whose codec saw 2/3 to 8/9 of a side, mirrored half of
the time, and whose transformer 8/9 to all of it, never mirrored: captions tell left from right.

Shapes: C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from helicon.formats.checked import number
from helicon.tokenizers.augment import AugmentationRanges, check_range

SMALLEST = 0.1  # part of a side that a picture may be cropped to


@dataclass(frozen=True)
class PictureAugmentation:
    """What is done to a picture.

    crop: the part of each side that is kept. top, left: where it lies, as a share in [0, 1) of the places there are.
    """

    crop: float = 1.0
    top: float = 0.0
    left: float = 0.0
    flip: bool = False

    def apply(self, pixels_HWC: np.ndarray) -> np.ndarray:
        """uint8 [H, W, C] of the same size."""
        pixels_CHW = rearrange(torch.from_numpy(pixels_HWC), "h w c -> c h w")
        return rearrange(self.changed(pixels_CHW), "c h w -> h w c").contiguous().numpy()

    def changed(self, pixels_CHW: Tensor) -> Tensor:
        """The same of a tensor, uint8."""
        height, width = pixels_CHW.shape[-2:]
        h, w = (max(1, round(self.crop * side)) for side in (height, width))
        if (h, w) != (height, width):
            top, left = int(self.top * (height - h + 1)), int(self.left * (width - w + 1))
            part_1CHW = pixels_CHW[None, :, top : top + h, left : left + w].float()
            scaled_1CHW = F.interpolate(part_1CHW, (height, width), mode="bicubic", antialias=True)  # as files are
            pixels_CHW = scaled_1CHW[0].round().clamp(0, 255).to(torch.uint8)
        return pixels_CHW.flip(-1) if self.flip else pixels_CHW


@dataclass(frozen=True)
class PictureRanges(AugmentationRanges):
    """The range of the part of each side that is kept, and how often pictures are mirrored, a probability."""

    crop: Sequence[float] = (1.0, 1.0)
    flip: float = 0.0

    def __post_init__(self) -> None:
        check_range("crop", self.crop, SMALLEST, 1)
        number("flip", self.flip, 0, 1)

    @property
    def idle(self) -> bool:
        """Whether pictures stay whole, and none is mirrored."""
        return tuple(self.crop) == (1, 1) and not self.flip

    def draw(self, rng: np.random.Generator) -> PictureAugmentation:
        """As many numbers whatever the ranges are."""
        crop, top, left, flip = rng.random(4).tolist()
        least, most = self.crop
        return PictureAugmentation(least + (most - least) * crop, top, left, flip < self.flip)
