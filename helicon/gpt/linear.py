"""x W^T + bias, by whichever product of matrices is the faster one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_onednn = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None


def linear(x: Tensor, weight_NK: Tensor, bias_N: Tensor | None = None) -> Tensor:
    """[..., K] -> [..., N].

    What learns nothing in float32 on a CPU goes by oneDNN: MKL, which PyTorch takes, reads weights at a third of the
    speed on AMD's, and multiplies many rows at three quarters (benchmarks/products.py).

    In float32 and bfloat16 a row of [B, K] that learns nothing comes out the same whatever B is.
    """
    alone = x.shape[:-1] == (1,) and x.device.type == "cpu" and x.dtype != torch.float64
    if alone and not torch.is_grad_enabled():
        # A row alone goes by another kernel, which adds in another order: a row's sum must not depend on its company
        return linear(x.repeat(2, 1), weight_NK, bias_N)[:1]
    plain = _onednn is not None and x.device.type == "cpu" and x.dtype == weight_NK.dtype == torch.float32
    if not plain or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return F.linear(x, weight_NK, bias_N)
    return _onednn(x, weight_NK, bias_N, "none", [], "")  # type: ignore[misc]  (asked for above)


class Linear(nn.Linear):
    """The layer of `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)
