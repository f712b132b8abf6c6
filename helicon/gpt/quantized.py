"""Linear layers with int8 weights, one scale a row: half of bfloat16's memory, which is what decoding waits for.

Shapes: N outputs, K inputs; C width, V vocabulary rows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEW = 16  # rows of a batch up to which the int8 product is the faster one on a CPU
WHOLE = 16  # numbers that it reads at a time, past the end of a row that is no multiple


class Int8Linear(nn.Module):
    """x W^T + bias, W = scale x int8: symmetric, the largest weight of each row is 127 (arXiv:2208.07339, section 2).

    Activations are bfloat16. Many rows, as in a prefill, are multiplied by the weights made bfloat16 again.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, weight_NK: Tensor, bias_N: Tensor | None = None) -> None:
        super().__init__()
        wide = weight_NK.detach().float()
        scale = (wide.abs().amax(1) / 127).clamp(min=1e-30).to(torch.bfloat16)
        quantized = (wide / scale.float()[:, None]).round().clamp(-127, 127)
        self.register_buffer("weight", quantized.to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if bias_N is None else bias_N.detach().to(torch.bfloat16))

    def whole(self, rows: slice = slice(None)) -> Tensor:
        """Weights [rows, K] in bfloat16."""
        return self.weight[rows].to(self.scale.dtype) * self.scale[rows, None]

    def forward(self, x: Tensor, rows: slice = slice(None)) -> Tensor:
        """[..., K] -> [..., rows]."""
        weight, scale = (self.weight, self.scale) if rows == slice(None) else (self.weight[rows], self.scale[rows])
        if x.device.type == "cpu" and x.shape[:-1].numel() <= FEW and weight.shape[1] % WHOLE == 0:
            flat = x if x.dim() == 2 else x.flatten(0, -2)
            out = torch.ops.aten._weight_int8pack_mm(flat, weight, scale).view(*x.shape[:-1], -1)
        else:
            out = F.linear(x, self.whole(rows))
        return out if self.bias is None else out + self.bias[rows]


def quantize(module: nn.Module) -> None:
    """Makes the linear layers below a module int8, in place. What is quantized cannot be trained."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear):
            setattr(module, name, Int8Linear(child.weight, child.bias))
        else:
            quantize(child)
