"""Objectives of one's own that learn from pairs and from rollouts: what the tests of both train."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

import helicon


@helicon.register_objective("prefer")
@dataclass(frozen=True, kw_only=True)
class Prefer(helicon.Objective):
    """Direct preference optimisation (arXiv:2305.18290, equation 7).

    Args:
        beta: how dear it is to leave the reference.
    """

    examples: ClassVar = "pairs"

    beta: float = 0.1

    def build(self, bundle: helicon.Bundle) -> helicon.Referred:
        return helicon.Referred(bundle)

    def loss(self, network: helicon.Network, batch: helicon.Batch) -> tuple[Tensor, dict[str, helicon.Mean]]:
        assert isinstance(network, helicon.Referred)
        ratios = (network.log_probabilities(batch) - network.reference_log_probabilities(batch)).sum(1)
        chosen, rejected = ratios.chunk(2)
        losses = -F.logsigmoid(self.beta * (chosen - rejected))
        right = (chosen > rejected).float().sum()
        count = len(losses)
        return losses.mean(), {
            "preference": helicon.Mean(losses.detach().sum(), count), "right": helicon.Mean(right, count),
        }  # fmt: skip

    def metrics(self, network: helicon.Network) -> list[str]:
        return ["preference", "right"]

    def val_loss(self, network: helicon.Network, means: Mapping[str, float]) -> float:
        return means["preference"]


@helicon.register_objective("please")
@dataclass(frozen=True, kw_only=True)
class Please(helicon.Rewarded):
    """Policy gradient (REINFORCE) with the mean of the samples as its baseline: texts of many a's are rewarded."""

    def rewards(self, network: helicon.Network, candidates: helicon.Candidates) -> list[float]:
        return [text.count("a") / max(1, len(text)) for text in candidates.media]

    def loss(self, network: helicon.Network, batch: helicon.Rollouts) -> tuple[Tensor, dict[str, helicon.Mean]]:
        rewards = batch.rewards.view(-1, self.samples)
        advantages = (rewards - rewards.mean(1, keepdim=True)).flatten()
        new = network.log_probabilities(batch.pieces)
        ratio = torch.exp(new - batch.old)
        loss = -(ratio * advantages[:, None]).sum() / len(advantages)
        drift = (batch.old - batch.reference).sum(1)
        return loss, {
            "reward": helicon.Mean(rewards.sum(), rewards.numel()), "kl": helicon.Mean(drift.sum(), len(drift)),
        }  # fmt: skip

    def metrics(self, network: helicon.Network) -> list[str]:
        return ["reward", "kl"]

    def val_loss(self, network: helicon.Network, means: Mapping[str, float]) -> float:
        return -means["reward"]


@helicon.register_objective("lengthy")
@dataclass(frozen=True, kw_only=True)
class Lengthy(Please):
    """Longer pieces are rewarded, of any medium."""

    def rewards(self, network: helicon.Network, candidates: helicon.Candidates) -> list[float]:
        assert len(candidates.media) == len(candidates.ids)
        return [float(len(ids)) for ids in candidates.ids]
