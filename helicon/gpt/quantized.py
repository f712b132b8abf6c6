"""Weight-only int8 linear layers, one scale per output: half of bfloat16's memory, whose reading limits decoding.

Shapes: N outputs, K inputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from helicon.gpt.linear import linear

_int8_product = torch.ops.aten._weight_int8pack_mm
MAX_INT8_ROWS = 16  # rows of a batch up to which the int8 product is the faster one on a CPU
INT8_VECTOR = 16  # numbers that the product reads at a time: it reads past the end of K if K is no multiple
MIN_SCALE = 1e-30  # a row of zeros divides by this instead of by 0


class Int8Linear(nn.Module):
    """Linear layer with W = scale x int8, symmetric, scaled by the absmax of each row (arXiv:2208.07339, section 2).

    Activations are bfloat16. Batches of many rows, as in a prefill, are multiplied by weights converted to bfloat16.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, weight_NK: Tensor, bias_N: Tensor | None = None) -> None:
        super().__init__()
        wide = weight_NK.detach().float()
        scale = (wide.abs().amax(1) / 127).clamp(min=MIN_SCALE).to(torch.bfloat16)
        quantized = (wide / scale.float()[:, None]).round().clamp(-127, 127)
        self.register_buffer("weight", quantized.to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if bias_N is None else bias_N.detach().to(torch.bfloat16))

    def dequantize(self) -> Tensor:
        """Return the weights [N, K] of N outputs and K inputs, in bfloat16."""
        return self.weight.to(self.scale.dtype) * self.scale[:, None]

    def forward(self, x: Tensor, rows: slice | None = None) -> Tensor:
        """Compute some or all outputs.

        Args:
            x: inputs [..., K] of the layer's K inputs, bfloat16.
            rows: slice of the outputs to compute, which are rows of the weights; None for all.

        Returns:
            Outputs [..., N], bfloat16, of the N outputs that `rows` selects.
        """
        weight, scale, bias = self.weight, self.scale, self.bias
        if rows is not None:
            weight, scale, bias = weight[rows], scale[rows], None if bias is None else bias[rows]
        few_rows = x.numel() <= MAX_INT8_ROWS * x.shape[-1]
        if not (x.device.type == "cpu" and few_rows and x.shape[-1] % INT8_VECTOR == 0):
            return linear(x, weight.to(scale.dtype) * scale[:, None], bias)
        out = _int8_product(x if x.dim() == 2 else x.flatten(0, -2), weight, scale)
        out = out if x.dim() == 2 else out.unflatten(0, x.shape[:-1])
        return out if bias is None else out.add_(bias)


def quantize(module: nn.Module) -> None:
    """Replace each `nn.Linear` below an `nn.Module` by an `Int8Linear`, in place; they cannot be trained."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear):
            setattr(module, name, Int8Linear(child.weight, child.bias))
        else:
            quantize(child)
