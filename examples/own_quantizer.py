"""A quantizer of one's own: lookup-free quantization (arXiv:2310.05737, section 3.1), whose codes are signs.

helicon train image-codec FOLDER_OF_PICTURES --model.quantizer lfq --model.codes 256 --plugin own_quantizer.py
helicon reconstruct runs/image-codec-1 PICTURE.png --plugin own_quantizer.py
helicon train image FOLDER_OF_PICTURES --data.tokenizer runs/image-codec-1 --plugin own_quantizer.py
"""

import torch
from einops import rearrange
from torch import Tensor

import helicon


@helicon.register_quantizer("lfq")
class LookupFree(helicon.Quantizer):
    """Each channel is -1 or 1; a code is the number that the channels are the binary digits of.

    Shapes: B batch, D channels, `x` grid axes.
    """

    def __init__(self, config: helicon.QuantizerConfig, learning: helicon.QuantizerLearning) -> None:
        digits = (config.codes - 1).bit_length()
        super().__init__(2**digits, digits, digits)
        self.commitment = learning.commitment
        self.values: Tensor
        self.register_buffer("values", 2 ** torch.arange(digits))

    def forward(self, z_BDx: Tensor) -> helicon.Quantized:
        signs = torch.where(z_BDx > 0, 1.0, -1.0)
        certain = z_BDx.sigmoid()
        mean_D = rearrange(certain, "b d ... -> d (b ...)").mean(1)
        # Each place is to be certain of its digits, and all places together to use both values of each
        loss = self.commitment * ((z_BDx - signs) ** 2).mean() + entropy(certain).mean() - entropy(mean_D).mean()
        return helicon.Quantized(z_BDx + (signs - z_BDx).detach(), self.encode(z_BDx), loss)

    def encode(self, z_BDx: Tensor) -> Tensor:
        return ((z_BDx > 0).movedim(1, -1) * self.values).sum(-1)

    def decode(self, codes_Bx: Tensor) -> Tensor:
        digits = codes_Bx[..., None] // self.values % 2
        return (2.0 * digits - 1).movedim(-1, 1)


def entropy(p: Tensor) -> Tensor:
    """Compute the entropy, in nats, of Bernoulli variables with probabilities p."""
    return -(torch.xlogy(p, p) + torch.xlogy(1 - p, 1 - p))
