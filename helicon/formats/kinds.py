"""Describe values of any type in messages."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor


def kind_of(value: Any) -> str:
    """Return in words dtype and shape of a tensor or array, such as `torch.int64 [2, 3]`; else the name of the type."""
    return f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray | Tensor) else type(value).__name__
