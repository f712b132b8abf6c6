"""Linear layers that use the faster of two matrix multiplications, PyTorch's or oneDNN's."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Private in PyTorch, so it may be missing: None then
_onednn = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if torch.backends.mkldnn.is_available() else None


def linear(x: Tensor, weight_NK: Tensor, bias_N: Tensor | None = None) -> Tensor:
    """Compute x W^T + bias.

    Without gradients, float32 on a CPU goes through oneDNN: MKL, PyTorch's default, reads weights at a third of the
    speed on AMD processors, and multiplies many rows at three quarters of it (benchmarks/products.py).

    Args:
        x: inputs [..., K], float.
        weight_NK: weights W of N outputs and K inputs.
        bias_N: added to the outputs; None for none.

    Returns:
        Outputs [..., N]. In float32 and bfloat16 without gradients, a row of [B, N] is bitwise the same whatever B is.
    """
    single_row = x.shape[:-1] == (1,) and x.device.type == "cpu" and x.dtype != torch.float64
    if single_row and not torch.is_grad_enabled():
        # A batch of one goes to a matrix-vector kernel, which sums in another order; two equal rows avoid that kernel
        return linear(x.repeat(2, 1), weight_NK, bias_N)[:1]
    use_onednn = _onednn is not None and x.device.type == "cpu" and x.dtype == weight_NK.dtype == torch.float32
    if not use_onednn or torch.is_grad_enabled() or torch.is_autocast_enabled("cpu"):
        return F.linear(x, weight_NK, bias_N)
    return _onednn(x, weight_NK, bias_N, "none", [], "")  # type: ignore[misc]  (checked above)


class Linear(nn.Linear):
    """nn.Linear that multiplies by `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)
