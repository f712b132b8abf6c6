"""Data augmentation of pictures: random crops, scaled up to full size, and horizontal flips.

Source: DALL·E (arXiv:2102.12092, appendices A.2 and B.2). Its codec saw crops of 2/3 to 8/9 of a side, flipped half of
the time; its transformer saw crops of 8/9 to 1, never flipped, since captions mention left and right.

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

SMALLEST = 0.1  # least crop, as a share of a side; DALL·E's least is 2/3


@dataclass(frozen=True)
class PictureAugmentation:
    """Augmentation of a picture.

    Attributes:
        crop: share of each side that is kept.
        top: vertical position of the crop, in [0, 1) from the top to the lowest possible.
        left: horizontal position, likewise.
        flip: mirror left and right.
    """

    crop: float = 1.0
    top: float = 0.0
    left: float = 0.0
    flip: bool = False

    def apply(self, pixels_HWC: np.ndarray) -> np.ndarray:
        """Augment a picture NumPy uint8 [H, W, C], H x W pixels, to one of the same size and type."""
        pixels_CHW = rearrange(torch.from_numpy(pixels_HWC), "h w c -> c h w")
        return rearrange(self.changed(pixels_CHW), "c h w -> h w c").contiguous().numpy()

    def changed(self, pixels_CHW: Tensor) -> Tensor:
        """Augment a picture tensor uint8 [C, H, W], H x W pixels, to one of the same size and type."""
        height, width = pixels_CHW.shape[-2:]
        h, w = (max(1, round(self.crop * side)) for side in (height, width))
        if (h, w) != (height, width):
            top, left = int(self.top * (height - h + 1)), int(self.left * (width - w + 1))
            part_1CHW = pixels_CHW[None, :, top : top + h, left : left + w].float()
            scaled_1CHW = F.interpolate(part_1CHW, (height, width), mode="bicubic", antialias=True)  # as for files
            pixels_CHW = scaled_1CHW[0].round().clamp(0, 255).to(torch.uint8)
        return pixels_CHW.flip(-1) if self.flip else pixels_CHW


@dataclass(frozen=True)
class PictureRanges(AugmentationRanges):
    """Range of the crop, as a share of each side, and the probability of a flip."""

    crop: Sequence[float] = (1.0, 1.0)
    flip: float = 0.0

    def __post_init__(self) -> None:
        check_range("crop", self.crop, SMALLEST, 1)
        number("flip", self.flip, 0, 1)

    @property
    def idle(self) -> bool:
        """True if pictures are neither cropped nor flipped."""
        return tuple(self.crop) == (1, 1) and not self.flip

    def draw(self, rng: np.random.Generator) -> PictureAugmentation:
        """Draw a `PictureAugmentation` from a NumPy generator.

        Always four random numbers are drawn, so that no range alters the draws of the others.
        """
        crop, top, left, flip = rng.random(4).tolist()
        least, most = self.crop
        return PictureAugmentation(least + (most - least) * crop, top, left, flip < self.flip)
