"""Values of single optimizer steps, worked out by hand, and what a step is made of: groups, clipping, noise."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from helicon.gpt.model import GPT, GPTConfig
from helicon.objectives.base import Network
from helicon.objectives.next_token import NextToken
from helicon.training.learning.base import RunModule
from helicon.training.learning.module import GPTModule
from helicon.training.learning.optimizers import Muon, MuonAdamW, orthogonalise
from helicon.training.settings.config import GPTModelConfig, OptimizerConfig
from helicon.training.settings.lightning_options import DEFAULTS


class PretendTrainer:
    """What a module asks of a trainer, of one process unless said."""

    def __init__(self, rank: int = 0, step: int = 0) -> None:
        self.global_rank, self.global_step, self.world_size, self.max_steps = rank, step, 1, 10
        self.callbacks, self.accumulate_grad_batches, self.precision = [], 1, "32-true"
        self.datamodule = SimpleNamespace(seed=7)
        self.fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_idx=0))


def module_of(optimizer: str, lr: float = 0.1, weight_decay: float = 0.0, beta2: float = 0.5) -> RunModule:
    """A module whose rate is `lr` at once."""
    module = RunModule(
        OptimizerConfig(optimizer=optimizer, lr=lr, final_lr=1.0, warmup=0.0, weight_decay=weight_decay, beta2=beta2)
    )
    module.trainer = PretendTrainer()  # type: ignore[assignment]
    return module


def steps(optimizer: torch.optim.Optimizer, parameter: Tensor, *gradients: list) -> list[Tensor]:
    """By how much each gradient moves a parameter."""
    moves = []
    for gradient in gradients:
        before = parameter.detach().clone()
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        moves.append(parameter.detach() - before)
    return moves


def quintic(value: float) -> float:
    """Five Newton-Schulz steps of one singular value."""
    for _ in range(5):
        value = 3.4445 * value - 4.7750 * value**3 + 2.0315 * value**5
    return value


def test_singular_values_after_newton_schulz():
    """3 and 30, of norm 30.15, are .0995 and .995; a single one is 1."""
    assert [quintic(value) for value in (0.0995, 0.995, 1.0)] == pytest.approx([0.709, 0.702, 0.696], abs=1e-3)
    found, expected = orthogonalise(torch.diag(torch.tensor([3.0, 30.0]))), torch.diag(torch.tensor([0.709, 0.702]))
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)
    single = orthogonalise(torch.tensor([[0.0, -7.0]]))
    torch.testing.assert_close(single, torch.tensor([[0.0, -0.696]]), atol=0.02, rtol=0)


def test_a_step_of_muon_is_as_large_as_one_of_adamw():
    """A gradient of rank one has the singular value 1, which becomes .696; a 2 x 8 matrix moves by .2 sqrt(8) of it."""
    weight = nn.Parameter(torch.zeros(2, 8))
    gradient = torch.zeros(2, 8)
    gradient[1, 3] = 5.0
    (move,) = steps(Muon([weight], lr=0.1), weight, gradient.tolist())
    assert float(move[1, 3]) == pytest.approx(-0.1 * 0.2 * math.sqrt(8) * 0.696, rel=0.02)
    assert move.count_nonzero() == 1


def test_muon_looks_ahead():
    """Gradients 1 and -.8: their mean is .95 x .05 - .05 x .8 = .0075, which would go on as before; Nesterov's, .95 x
    .0075 - .05 x .8 = -.033, turns."""
    weight = nn.Parameter(torch.zeros(1, 1))
    first, second = steps(Muon([weight], lr=1.0), weight, [[1.0]], [[-0.8]])
    assert float(first) == pytest.approx(-0.2 * 0.696, rel=0.02)
    assert float(second) == pytest.approx(+0.2 * 0.696, rel=0.02)


def test_momentum_of_muon():
    """After gradients (1, 0) and (0, 1): .05 x .95 and .05, of which Nesterov's are .045125 and .0975."""
    weight = nn.Parameter(torch.zeros(1, 2))
    optimizer = Muon([weight], lr=1.0)
    _, second = steps(optimizer, weight, [[1.0, 0.0]], [[0.0, 1.0]])
    torch.testing.assert_close(optimizer.state[weight]["momentum"], torch.tensor([[0.0475, 0.05]]))
    assert float(second[0, 0] / second[0, 1]) == pytest.approx(0.045125 / 0.0975, rel=0.02)


def test_decay_shrinks_matrices_and_nothing_else():
    """By lr x decay = .05 of them, without a gradient."""
    matrix, vector = nn.Parameter(torch.full((2, 2), 2.0)), nn.Parameter(torch.full((2,), 2.0))
    for optimizer in ("muon", "adamw"):
        made = module_of(optimizer, weight_decay=0.5).scheduled_optimizer([matrix], [vector])["optimizer"]
        before = matrix.detach().clone()
        matrix.grad, vector.grad = torch.zeros(2, 2), torch.zeros(2)
        made.step()
        torch.testing.assert_close(matrix.detach(), 0.95 * before)
        assert vector.tolist() == [2.0, 2.0]


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_two_steps_of_adamw(optimizer):
    """Gradients 1 and -2, rates of decay .9 and .5: 1 / sqrt(1); then -.11 / .19 over sqrt(2.25 / .75)."""
    vector = nn.Parameter(torch.zeros(1))
    made = module_of(optimizer, beta2=0.5).scheduled_optimizer([nn.Parameter(torch.zeros(1, 1))], [vector])["optimizer"]
    moves = [float(move) for move in steps(made, vector, [1.0], [-2.0])]
    assert moves == pytest.approx([-0.1, 0.1 * (0.11 / 0.19) / math.sqrt(3)], rel=1e-4)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_matrices_of_the_layers_alone_are_decayed_and_go_to_muon(optimizer):
    config = GPTModelConfig(optimizer=optimizer, weight_decay=0.5, beta2=0.7, lr=0.25, warmup=0.0)
    module = GPTModule(config, NextToken())
    module.trainer = PretendTrainer()  # type: ignore[assignment]
    gpt = GPT(GPTConfig(layers=2, width=16, heads=2), vocabulary_size=9, coord_table_size=5)
    module.network = Network(SimpleNamespace(gpt=gpt, sequencer=None, labels=()))  # type: ignore[arg-type]
    made = module.configure_optimizers()["optimizer"]
    names = {id(parameter): name for name, parameter in module.gpt.named_parameters()}
    decayed, rest = [{names[id(parameter)] for parameter in group["params"]} for group in made.param_groups]
    parts = ("attention.qkv", "attention.out", "mlp.up", "mlp.out")
    assert decayed == {name for name in names.values() if name.startswith("layers.") and name.endswith("weight")} - {
        name for name in names.values() if "norm" in name
    }
    assert len(decayed) == 2 * len(parts)
    assert {"tokens.weight", "places.weight", "norm.weight"} <= rest
    assert decayed | rest == set(names.values())
    assert [group["weight_decay"] for group in made.param_groups] == [0.5, 0.0]
    assert [group["lr"] for group in made.param_groups] == [0.25, 0.25]
    assert made.param_groups[1]["betas"] == (0.9, 0.7)
    if optimizer == "muon":
        assert isinstance(made, MuonAdamW)
        assert {names[id(parameter)] for parameter in made.muon.param_groups[0]["params"]} == decayed


def test_branches_begin_smaller_the_more_there_are():
    """GPT-2: .02, and .02 / sqrt(2 x 8) for what is added to the residual stream."""
    torch.manual_seed(0)
    gpt = GPT(GPTConfig(layers=8, width=64, heads=2, tied=False), vocabulary_size=100, coord_table_size=100)
    for name, parameter in gpt.named_parameters():
        if parameter.dim() > 1:
            assert float(parameter.detach().std()) == pytest.approx(
                0.02 / 4 if name.endswith("out.weight") else 0.02, rel=0.1
            ), name


def test_gradients_are_clipped_by_their_common_norm():
    """3 and 4 are of norm 5."""
    for limit, expected in ((10.0, [3.0, 4.0]), (0.5, [0.3, 0.4]), (None, [3.0, 4.0])):
        module = module_of("adamw")
        module.a, module.b = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
        module.a.grad, module.b.grad = torch.tensor([3.0]), torch.tensor([4.0])
        module.configure_gradient_clipping(None, limit)
        assert [float(module.a.grad), float(module.b.grad)] == pytest.approx(expected)
    assert DEFAULTS["gradient_clip_val"] == 1.0


def test_noise_is_that_of_a_step_and_a_process():
    seeds = {}
    for rank in range(3):
        for step in range(4):
            module = module_of("adamw")
            module.trainer = PretendTrainer(rank, step)  # type: ignore[assignment]
            for _ in range(2):
                module.on_train_batch_start(None, 0)
                seeds.setdefault((rank, step), set()).add(tuple(torch.rand(4).tolist()))
    assert all(len(drawn) == 1 for drawn in seeds.values())
    assert len(set().union(*seeds.values())) == len(seeds)
