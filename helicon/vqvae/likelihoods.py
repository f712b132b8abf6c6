"""Likelihoods of pixels under a decoder's output: the loss, and the predicted pixels.

Shapes: B pictures, C channels of the medium, P parameters a channel; `x` any number of axes. Media are in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 0.1  # margin to black and white, where logits are infinite (appendix A.3, arXiv:2102.12092)


@dataclass(frozen=True)
class Likelihood:
    """Distribution of pixels whose parameters the decoder gives.

    Attributes:
        parameters: P, output channels for each channel of the medium.
        loss: (out [B, P C, x], media [B, C, x]) -> mean loss, a scalar.
        mean: out [B, P C, x] -> predicted media [B, C, x].
    """

    parameters: int
    loss: Callable[[Tensor, Tensor], Tensor]
    mean: Callable[[Tensor], Tensor]


def logit_laplace_loss(out: Tensor, media: Tensor) -> Tensor:
    """Compute -ln p under the logit-Laplace distribution (eq. 1 and 2, appendix A.3, arXiv:2102.12092).

    Args:
        out: decoder's output [B, 2 C, x]: C channels of locations, then as many of log scales; `x` is any axes.
        media: [B, C, x] in [-1, 1].

    Returns:
        Mean over all values in nats, a scalar, up to a constant.
    """
    location, log_scale = out.float().chunk(2, dim=1)
    x = (media.float() + 1) / 2 * (1 - 2 * EPSILON) + EPSILON
    jacobian = torch.log(2 * x * (1 - x))
    return ((torch.logit(x) - location).abs() * torch.exp(-log_scale) + log_scale + jacobian).mean()


def logit_laplace_mean(out: Tensor) -> Tensor:
    """Return the pixels [B, C, x] of a decoder's output [B, 2 C, x] (eq. 3, appendix A.3, arXiv:2102.12092).

    The output has C channels of locations, which give the pixels, then as many of log scales; `x` is any axes. Pixels
    are in [-1.25, 1.25], not clamped to the [-1, 1] of media.
    """
    x = (torch.sigmoid(out.float().chunk(2, dim=1)[0]) - EPSILON) / (1 - 2 * EPSILON)
    return x * 2 - 1


LIKELIHOODS: dict[str, Likelihood] = {
    "l2": Likelihood(1, lambda out, media: F.mse_loss(out.float(), media.float()), lambda out: out.float()),
    "l1": Likelihood(1, lambda out, media: F.l1_loss(out.float(), media.float()), lambda out: out.float()),
    "logit-laplace": Likelihood(2, logit_laplace_loss, logit_laplace_mean),
}
