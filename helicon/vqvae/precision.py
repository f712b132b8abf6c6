"""Float32 precision of codecs: codes must not depend on the precision settings of the process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

# Backends that may compute float32 in TF32 or bfloat16: matrix products and convolutions, of GPUs and CPUs
_backends: Any = torch.backends  # Any, since PyTorch's type hints lack some of these attributes
BACKENDS = (_backends.cuda.matmul, _backends.cudnn.conv, _backends.mkldnn.matmul, _backends.mkldnn.conv)


@contextmanager
def float32_settings_kept() -> Iterator[None]:
    """Make a context that restores the float32 precision settings of the process on exit."""
    before = [backend.fp32_precision for backend in BACKENDS]
    try:
        yield
    finally:
        for backend, precision in zip(BACKENDS, before):
            backend.fp32_precision = precision


@contextmanager
def single_precision(device_type: str) -> Iterator[None]:
    """Make a context for products and convolutions in full float32 (IEEE), without TF32 and autocast.

    Args:
        device_type: `cpu`, `cuda` or another for which autocast is switched off.
    """
    with float32_settings_kept(), torch.autocast(device_type, enabled=False):
        for backend in BACKENDS:
            backend.fp32_precision = "ieee"
        yield
