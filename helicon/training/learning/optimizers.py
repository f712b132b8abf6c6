"""Muon for matrices and AdamW for the rest, as one optimizer, since Lightning steps only one automatically."""

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

# Coefficients of x, x^3, x^5 in Newton-Schulz: steep at 0, so that 5 steps bring singular values near 1 (Jordan 2024)
QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrix: Tensor, steps: int = 5) -> Tensor:
    """Approximate the nearest semi-orthogonal matrix by Newton-Schulz iterations (kellerjordan.github.io/posts/muon).

    Plain products: on a CPU the fused forms (addmm) of bfloat16 are many times slower.

    Args:
        matrix: floating point, M x N.
        steps: number of iterations; 5 as in the source.

    Returns:
        Matrix [M, N] of the same dtype; its singular values are about .7 to 1.2.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = _in_product_dtype(matrix)
    x = (x.mT if tall else x).contiguous()  # the smaller Gram matrix
    x = x / (x.norm() + 1e-7)  # singular values of at most 1; 1e-7 for a gradient of zeros, as in the source
    a, b, c = QUINTIC
    for _ in range(steps):
        gram = x @ x.mT
        polynomial = (gram @ gram).mul_(c).add_(gram, alpha=b)
        polynomial.diagonal().add_(a)
        x = polynomial @ x
    return (x.mT if tall else x).to(matrix.dtype)


def orthogonalise_across_ranks(matrices: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield `orthogonalise` of each matrix, in order; of as many as there are ranks, each rank computes one.

    All ranks pass the same matrices, sharded or not. Shards are gathered, and results broadcast, in the dtype of the
    products.
    """
    if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
        yield from map(orthogonalise, matrices)
        return
    matrices, rank = iter(matrices), dist.get_rank()
    while turn := [full_tensor(_in_product_dtype(matrix)) for matrix in islice(matrices, dist.get_world_size())]:
        updates = [orthogonalise(x).contiguous() if i == rank else torch.empty_like(x) for i, x in enumerate(turn)]
        for broadcast in [dist.broadcast(update, src=i, async_op=True) for i, update in enumerate(updates)]:
            assert broadcast is not None
            broadcast.wait()
        yield from updates


def _in_product_dtype(matrix: Tensor) -> Tensor:
    """Return the matrix in bfloat16, which is enough for Newton-Schulz, or in float32 where bfloat16 is emulated."""
    return matrix.to(torch.bfloat16 if has_bf16(matrix.device.type) else torch.float32)


class Muon(Optimizer):
    """Muon: Nesterov momentum, orthogonalised (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

    An update is scaled to the RMS of AdamW's, by .2 sqrt(longer side) (arXiv:2502.16982, eq. 4), so that both can have
    the same learning rate and weight decay.

    Args:
        params: matrices, and kernels of convolutions, which are taken as matrices [outputs, the rest].
        lr: learning rate.
        weight_decay: decoupled, as AdamW's.
        momentum: of the moving average of gradients; .95 as in the source.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, weight_decay: float = 0.0, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            parameters.sort(key=torch.numel)  # matrices of similar size in a turn, so that no rank waits long
            matrices = (self._nesterov_gradient(parameter, group["momentum"]) for parameter in parameters)
            for parameter, update in zip(parameters, orthogonalise_across_ranks(matrices)):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                delta = distribute_like(update.to(parameter.dtype).view(parameter.shape), parameter)
                parameter.add_(delta, alpha=-group["lr"] * 0.2 * max(update.shape) ** 0.5)

    def _nesterov_gradient(self, parameter: Tensor, momentum: float) -> Tensor:
        """Update the moving average of a gradient; return the gradient moved towards it, as a matrix."""
        assert parameter.grad is not None
        mean = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
        mean.lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(mean, momentum).flatten(1)


# Optimizer -> names of its state of a parameter, by which checkpoints are checked
STATE_KEYS: dict[type[Optimizer], tuple[str, ...]] = {Muon: ("momentum",), AdamW: ("step", "exp_avg", "exp_avg_sq")}


class MuonAdamW(Optimizer):
    """Optimizer of Muon over `matrices` and AdamW over `rest`; schedulers see the parameter groups of both.

    Args:
        matrices: parameters of Muon, with weight decay.
        rest: parameters of AdamW, without weight decay.
        lr: learning rate of both.
        weight_decay: of Muon.
        beta2: AdamW's second decay rate (the first is .9).
    """

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
        self.param_groups = [*self.muon.param_groups, *self.adamw.param_groups]  # loading replaces the groups
