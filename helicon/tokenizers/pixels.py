"""Conversion of pictures to the tensors that codecs take, and back.

Shapes: B pictures, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

SIZE, MAX_PIXELS = 32, 4096  # pixels of a side: default and maximum


def pixels_to_tensor(pixels_BCHW: Tensor) -> Tensor:
    """Scale a tensor [B, C, H, W] of H x W pixels from 0 .. 255 to [-1, 1], float32.

    It is channels last in memory, with which convolutions are fastest.
    """
    return (pixels_BCHW.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def stacked(pictures: Sequence[np.ndarray]) -> Tensor:
    """Stack B arrays uint8 [H, W, 3], pictures of H x W pixels, to a tensor uint8 [B, 3, H, W]."""
    return rearrange(torch.from_numpy(np.stack(pictures)), "b h w c -> b c h w")


def tensor_to_pixels(media_BCHW: Tensor) -> np.ndarray:
    """Scale a tensor [B, C, H, W] of H x W pixels from [-1, 1] to 0 .. 255, rounded: array uint8 [B, H, W, C]."""
    return arrays(((media_BCHW.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8))


def arrays(pixels_BCHW: Tensor) -> np.ndarray:
    """Convert a tensor uint8 [B, C, H, W] of H x W pixels to an array [B, H, W, C]: the inverse of `stacked`."""
    return rearrange(pixels_BCHW, "b c h w -> b h w c").cpu().numpy()
