"""Number formats in which a GPT makes media."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from helicon.gpt.model import GPT
from helicon.gpt.quantized import Int8Linear, quantize

# int8: weights only, one scale a row; all else is bfloat16, but for the cache of PyTorch's step on a CPU
FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.bfloat16, "fp64": torch.float64}


class NotFiniteError(ValueError):
    """A GPT computes what are no finite numbers: its weights are damaged, or a number format does not hold them."""


def check_finite(figures: Tensor) -> None:
    """NotFiniteError for NaN and infinity among what a GPT has computed; a GPU is waited for."""
    if not torch.isfinite(figures).all():
        raise NotFiniteError("this model computes no finite numbers: damaged weights, or too large for --dtype")


def convert(gpt: GPT, name: str) -> GPT:
    """The GPT, in place, in one of FORMATS; an int8 one cannot be trained."""
    if name == "int8":
        head = Int8Linear(gpt.head_weight)
        quantize(gpt.layers)
        gpt.head = head  # type: ignore[assignment]  (its own now, also where it was tied)
    return gpt.to(FORMATS[name])


@functools.cache
def has_bf16(device: str) -> bool:
    """Whether the device multiplies bfloat16 in hardware, faster than float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        amx = getattr(torch.cpu, "_is_amx_tile_supported", bool)()
        return bool(amx or getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())
    return False
