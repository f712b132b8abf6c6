"""Multinomial logistic regression on standardised features.

Shapes: N examples, F features, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F


@dataclass(frozen=True, kw_only=True)
class LinearProbe:
    """Linear classifier of F standardised features into K labels.

    Attributes:
        labels: names of the K labels, sorted.
        mean: of the training features [F].
        scale: their standard deviation [F], 1 for constant features.
        weight: float64 [F, K].
        bias: float64 [K].
    """

    labels: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    bias: np.ndarray

    def predict(self, features_NF: np.ndarray) -> list[str]:
        """Return the likeliest label of each of N examples, a list of N strings, from features NumPy float64 [N, F]."""
        scores_NK = self._scaled(features_NF) @ self.weight + self.bias
        return [self.labels[i] for i in scores_NK.argmax(1)]

    def _scaled(self, features_NF: np.ndarray) -> np.ndarray:
        # Clipped, so that a feature far outside the training range cannot outvote all others
        return np.clip((features_NF - self.mean) / self.scale, -5.0, 5.0)


def fit_classifier(features_NF: np.ndarray, labels: Sequence[str], penalty: float = 0.1) -> LinearProbe:
    """Fit a linear classifier by L-BFGS: mean cross-entropy + penalty / 2 * sum of squared weights.

    Args:
        features_NF: NumPy float64 [N, F], F features of N examples.
        labels: name of the label of each example, two different ones at least. Each label has the same total weight.
        penalty: of the weights (L2), not of the bias.

    Returns:
        The `LinearProbe`.

    Raises:
        ValueError: fewer than two labels.
    """
    names = tuple(sorted(set(labels)))
    if len(names) < 2:
        raise ValueError(f"two labels at least are needed, got {', '.join(names) or 'none'}")
    target_N = torch.tensor([names.index(label) for label in labels])
    weight_K = len(labels) / (len(names) * torch.bincount(target_N).double())
    mean, scale = features_NF.mean(0), features_NF.std(0)
    blank = LinearProbe(
        labels=names, mean=mean, scale=np.where(scale > 1e-9, scale, 1.0), weight=np.zeros((1, 1)), bias=np.zeros(1)
    )
    x_NF = torch.from_numpy(blank._scaled(features_NF))
    weight = torch.zeros(x_NF.shape[1], len(names), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(names), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(x_NF @ weight + bias, target_N, weight_K) + penalty / 2 * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return LinearProbe(
        labels=names, mean=mean, scale=blank.scale, weight=weight.detach().numpy(), bias=bias.detach().numpy()
    )
