"""Linear layers with int8 weights, one scale a row: half of bfloat16's memory, which is what decoding waits for.

Shapes: N outputs, K inputs; C width, V vocabulary rows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from helicon.gpt.linear import linear

_int8_product = torch.ops.aten._weight_int8pack_mm
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

    def whole(self) -> Tensor:
        """Weights [N, K] in bfloat16."""
        return self.weight.to(self.scale.dtype) * self.scale[:, None]

    def forward(self, x: Tensor, rows: slice | None = None) -> Tensor:
        """[..., K] -> [..., rows]."""
        weight, scale, bias = self.weight, self.scale, self.bias
        if rows is not None:
            weight, scale, bias = weight[rows], scale[rows], None if bias is None else bias[rows]
        few = x.device.type == "cpu" and x.numel() <= FEW * x.shape[-1] and x.shape[-1] % WHOLE == 0
        if not few:
            return linear(x, weight.to(scale.dtype) * scale[:, None], bias)
        out = _int8_product(x if x.dim() == 2 else x.flatten(0, -2), weight, scale)
        out = out if x.dim() == 2 else out.unflatten(0, x.shape[:-1])
        return out if bias is None else out.add_(bias)


def quantize(module: nn.Module) -> None:
    """Makes the linear layers below a module int8, in place. What is quantized cannot be trained."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear):
            setattr(module, name, Int8Linear(child.weight, child.bias))
        else:
            quantize(child)
