"""What a decoder's output says of the pixels: their loss, and the pixels it stands for.

Shapes: B pictures, C channels of the medium, P parameters a channel; `x` any number of axes. Media are in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 0.1  # how far the logit-Laplace keeps from black and white


@dataclass(frozen=True)
class Likelihood:
    """parameters: channels of output a channel. loss(out [B, P C, x], media [B, C, x]): a mean. mean(out): media."""

    parameters: int
    loss: Callable[[Tensor, Tensor], Tensor]
    mean: Callable[[Tensor], Tensor]


def logit_laplace_loss(out: Tensor, media: Tensor) -> Tensor:
    """-log p of a Laplace distribution of logits (eq. 1 and 2, appendix A.3, arXiv:2102.12092)."""
    location, log_scale = out.float().chunk(2, dim=1)
    x = (media.float() + 1) / 2 * (1 - 2 * EPSILON) + EPSILON
    jacobian = torch.log(2 * x * (1 - x))
    return ((torch.logit(x) - location).abs() * torch.exp(-log_scale) + log_scale + jacobian).mean()


def logit_laplace_mean(out: Tensor) -> Tensor:
    """What the location stands for (eq. 3 there)."""
    x = (torch.sigmoid(out.float().chunk(2, dim=1)[0]) - EPSILON) / (1 - 2 * EPSILON)
    return x * 2 - 1


LIKELIHOODS: dict[str, Likelihood] = {
    "l2": Likelihood(1, lambda out, media: F.mse_loss(out.float(), media.float()), lambda out: out.float()),
    "l1": Likelihood(1, lambda out, media: F.l1_loss(out.float(), media.float()), lambda out: out.float()),
    "logit-laplace": Likelihood(2, logit_laplace_loss, logit_laplace_mean),
}
