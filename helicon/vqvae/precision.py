"""The one precision in which codecs encode and decode: codes must not depend on what a process did before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

# What multiplies float32 in parts of fewer bits where it is told to: products and convolutions, of GPUs and CPUs
_backends: Any = torch.backends  # of which PyTorch declares some attributes only
BACKENDS = (_backends.cuda.matmul, _backends.cudnn.conv, _backends.mkldnn.matmul, _backends.mkldnn.conv)


@contextmanager
def float32_settings_kept() -> Iterator[None]:
    """Puts back how float32 is multiplied in this process."""
    before = [backend.fp32_precision for backend in BACKENDS]
    try:
        yield
    finally:
        for backend, precision in zip(BACKENDS, before):
            backend.fp32_precision = precision


@contextmanager
def single_precision(device_type: str) -> Iterator[None]:
    """While it lasts, products and convolutions are of float32 as a whole, without TF32 and without autocast."""
    with float32_settings_kept(), torch.autocast(device_type, enabled=False):
        for backend in BACKENDS:
            backend.fp32_precision = "ieee"
        yield
