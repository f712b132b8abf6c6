"""Muon for the matrices of the layers and AdamW for all else, as one optimizer: Lightning steps one by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

QUINTIC = (3.4445, -4.7750, 2.0315)  # steep at 0, so that five steps bring singular values near 1 (Jordan et al. 2024)


def orthogonalised(matrix: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: singular values within .7 to 1.2, by Newton-Schulz in bfloat16.

    Plain products: on a CPU the fused forms (addmm) of bfloat16 are many times slower.
    """
    x = matrix.bfloat16()
    x = x.mT if matrix.shape[0] > matrix.shape[1] else x
    x = x / (x.norm() + 1e-7)
    a, b, c = QUINTIC
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return (x.mT if matrix.shape[0] > matrix.shape[1] else x).to(matrix.dtype)


class Muon(Optimizer):
    """Momentum, orthogonalised: every direction of a matrix moves equally far (kellerjordan.github.io/posts/muon).

    An update is scaled to the size that AdamW's would have, .2 sqrt(longer side) (arXiv:2502.16982, eq. 4), so that
    both take the same rates and weight decay. Matrices, and kernels of convolutions as matrices [outputs, the rest].
    """

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float = 0.0, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                mean = state.setdefault("momentum", torch.zeros_like(parameter))
                mean.lerp_(parameter.grad, 1 - group["momentum"])
                matrix = parameter.grad.lerp(mean, group["momentum"]).flatten(1)  # Nesterov
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                update = orthogonalised(matrix).view_as(parameter)
                parameter.add_(update, alpha=-group["lr"] * 0.2 * max(matrix.shape) ** 0.5)


class MuonAdamW(Optimizer):
    """Muon over `matrices` and AdamW over `rest`; the groups of both are its own, so schedulers see them all."""

    def __init__(
        self, matrices: Sequence[Tensor], rest: Sequence[Tensor], lr: float, weight_decay: float, beta2: float
    ) -> None:
        self.muon = Muon(matrices, lr, weight_decay)
        self.adamw = AdamW(rest, lr=lr, betas=(0.9, beta2), weight_decay=0.0, fused=True)
        super().__init__([{"params": [*matrices, *rest]}], {"lr": lr})
        self.param_groups = [*self.muon.param_groups, *self.adamw.param_groups]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.muon.step()
        self.adamw.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.muon.load_state_dict(state_dict["muon"])
        self.adamw.load_state_dict(state_dict["adamw"])
        self.param_groups = [*self.muon.param_groups, *self.adamw.param_groups]  # loading makes new ones
