"""An objective of one's own: the next token, with large activations made dear (arXiv:1708.01009, equation 2).

helicon train quiet FOLDER_OF_TEXT_FILES --data.layouts '["text"]' --plugin own_objective.py
helicon generate runs/quiet-1 --plugin own_objective.py
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

import helicon


@helicon.register_objective("quiet")
@dataclass(frozen=True, kw_only=True)
class Quiet(helicon.NextToken):
    """The next token, by states that are no larger than they have to be.

    Args:
        activation: weight of the mean square of the last states.
    """

    activation: float = 0.01

    def loss(self, network: helicon.Network, batch: helicon.Batch) -> tuple[Tensor, dict[str, helicon.Mean]]:
        hidden_PTC = network.hidden(batch)
        loss, figures = self.language_loss(network, batch, hidden_PTC)
        square = hidden_PTC.square().mean()
        return loss + self.activation * square, {**figures, "activation": helicon.Mean(square.detach(), 1)}

    def metrics(self, network: helicon.Network) -> list[str]:
        return [*super().metrics(network), "activation"]

    def val_loss(self, network: helicon.Network, means: Mapping[str, float]) -> float:
        return super().val_loss(network, means) + self.activation * means["activation"]
