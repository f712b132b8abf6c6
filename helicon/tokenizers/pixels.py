"""Pictures as tensors that codecs take, and back.

Shapes: B pictures, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

SIZE, MOST_PIXELS = 32, 4096  # each way, of a picture that is made into tokens: unless told, and at most


def pixels_to_tensor(pixels_BCHW: Tensor) -> Tensor:
    """0 .. 255 to [-1, 1], float32, channels last in memory, where convolutions are fastest."""
    return (pixels_BCHW.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def stacked(pictures: Sequence[np.ndarray]) -> Tensor:
    """uint8 pictures [H, W, 3] of one size -> uint8 [B, 3, H, W]."""
    return rearrange(torch.from_numpy(np.stack(pictures)), "b h w c -> b c h w")


def tensor_to_pixels(media_BCHW: Tensor) -> np.ndarray:
    """[-1, 1] to uint8 [B, H, W, C], rounded."""
    return arrays(((media_BCHW.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8))


def arrays(pixels_BCHW: Tensor) -> np.ndarray:
    """uint8 [B, C, H, W] -> [B, H, W, C]: the inverse of `stacked`."""
    return rearrange(pixels_BCHW, "b c h w -> b h w c").cpu().numpy()
