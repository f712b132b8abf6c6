"""Muon for the matrices of the layers and AdamW for all else, as one optimizer: Lightning steps one by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import AdamW, Optimizer

from helicon.gpt.numbers import has_bf16
from helicon.training.learning.sharding import distribute_like, full_tensor

QUINTIC = (3.4445, -4.7750, 2.0315)  # steep at 0, so that five steps bring singular values near 1 (Jordan et al. 2024)


def orthogonalised(matrix: Tensor, steps: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: singular values within .7 to 1.2, by Newton-Schulz.

    Plain products: on a CPU the fused forms (addmm) of bfloat16 are many times slower.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = _for_products(matrix)
    x = (x.mT if tall else x).contiguous()
    x = x / (x.norm() + 1e-7)
    a, b, c = QUINTIC
    for _ in range(steps):
        gram = x @ x.mT
        polynomial = (gram @ gram).mul_(c).add_(gram, alpha=b)
        polynomial.diagonal().add_(a)
        x = polynomial @ x
    return (x.mT if tall else x).to(matrix.dtype)


def orthogonalised_in_turns(matrices: Iterable[Tensor]) -> Iterator[Tensor]:
    """`orthogonalised` of each matrix. Several processes, all of which ask for the same, make one each in turn.

    They exchange what the products are made of.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        yield from map(orthogonalised, matrices)
        return
    matrices, own = iter(matrices), dist.get_rank()
    while turn := [full_tensor(_for_products(matrix)) for matrix in islice(matrices, dist.get_world_size())]:
        made = [orthogonalised(x).contiguous() if i == own else torch.empty_like(x) for i, x in enumerate(turn)]
        for sent in [dist.broadcast(update, src=i, async_op=True) for i, update in enumerate(made)]:
            assert sent is not None
            sent.wait()
        yield from made


def _for_products(matrix: Tensor) -> Tensor:
    """The matrix in bfloat16, which is enough for Newton-Schulz; in float32 where it would be emulated."""
    return matrix.to(torch.bfloat16 if has_bf16(matrix.device.type) else torch.float32)


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
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            parameters.sort(key=torch.numel)  # those of one turn take as long
            matrices = (self._accelerated(parameter, group["momentum"]) for parameter in parameters)
            for parameter, update in zip(parameters, orthogonalised_in_turns(matrices)):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                moved = distribute_like(update.to(parameter.dtype).view(parameter.shape), parameter)
                parameter.add_(moved, alpha=-group["lr"] * 0.2 * max(update.shape) ** 0.5)

    def _accelerated(self, parameter: Tensor, momentum: float) -> Tensor:
        """Nesterov's gradient, as a matrix."""
        assert parameter.grad is not None
        mean = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
        mean.lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(mean, momentum).flatten(1)


# What each keeps of a parameter, by name
STATE_KEYS: dict[type[Optimizer], tuple[str, ...]] = {Muon: ("momentum",), AdamW: ("step", "exp_avg", "exp_avg_sq")}


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
