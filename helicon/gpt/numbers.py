"""Number formats in which a GPT generates."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from helicon.gpt.model import GPT
from helicon.gpt.quantized import Int8Linear, quantize

# int8 is for weights only, one scale a row. All else is bfloat16, except for the KV cache of EagerStep on a CPU
FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16, "int8": torch.bfloat16, "fp64": torch.float64}


class NotFiniteError(ValueError):
    """NaN or infinity in the outputs of a GPT: damaged weights, or a number format too narrow for them."""


def check_finite(figures: Tensor) -> None:
    """Raise NotFiniteError if a float tensor of a GPT's outputs has NaN or infinity. Synchronises with a GPU."""
    if not torch.isfinite(figures).all():
        raise NotFiniteError("this model computes no finite numbers: damaged weights, or too large for --dtype")


def cast(gpt: GPT, name: str) -> GPT:
    """Cast a GPT to a number format, in place.

    Args:
        gpt: `GPT` to cast.
        name: `fp32`, `bf16`, `fp64` or `int8`, a key of FORMATS; an int8 model cannot be trained.

    Returns:
        `gpt` itself.
    """
    if name == "int8":
        head = Int8Linear(gpt.head_weight)
        quantize(gpt.layers)
        gpt.head = head  # type: ignore[assignment]  (no longer tied: the embedding stays bfloat16)
    return gpt.to(FORMATS[name])


@functools.cache
def has_bf16(device: str) -> bool:
    """Return True if a type of device (`cuda`, `cpu`, `mps`) multiplies bfloat16 in hardware, faster than float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "cpu":
        amx = getattr(torch.cpu, "_is_amx_tile_supported", bool)()
        return bool(amx or getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())
    return False
