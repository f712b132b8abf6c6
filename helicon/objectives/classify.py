"""Classification of whole pieces, beside the next token: GPT-1's fine-tuning (Radford 2018, section 3.2).

Shapes: P pieces of a batch, N examples, K labels, C width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helicon.formats.checked import number
from helicon.objectives.base import NO_LABEL, Batch, Mean, Network
from helicon.objectives.next_token import NextToken

if TYPE_CHECKING:
    from helicon.bundle.bundle import Bundle

LABEL, ACCURACY = "label", "accuracy"  # figures


class Classifier(Network):
    """A GPT with a linear head on the state of each piece's last token."""

    def __init__(self, bundle: Bundle, dropout: float) -> None:
        super().__init__(bundle)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(bundle.gpt.config.width, len(bundle.labels))
        if not self.head.weight.is_meta:
            nn.init.normal_(self.head.weight, std=0.02)
            nn.init.zeros_(self.head.bias)

    def logits(self, batch: Batch, hidden_PTC: Tensor) -> Tensor:
        """[P, K], float32, from the states of a batch: of the last token that each piece is fed."""
        last_PC = hidden_PTC[torch.arange(len(batch.lengths), device=hidden_PTC.device), batch.lengths - 1]
        return self.head(self.dropout(last_PC.to(self.head.weight.dtype))).float()


@dataclass(frozen=True, kw_only=True)
class Classify(NextToken):
    """Which label a piece has, of those that the training data have.

    Args:
        auxiliary: weight of the loss of the next token beside that of the label.
        head_dropout: dropout before the classification head.
    """

    labelled: ClassVar[bool] = True
    kept: ClassVar[tuple[str, ...]] = ("head",)

    auxiliary: float = 0.5
    head_dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        number("auxiliary", self.auxiliary, 0, 1e6)
        number("head_dropout", self.head_dropout, 0, 1)

    def build(self, bundle: Bundle) -> Classifier:
        super().build(bundle)
        return Classifier(bundle, self.head_dropout)

    def loss(self, network: Network, batch: Batch) -> tuple[Tensor, dict[str, Mean]]:
        """L3 = L2 + auxiliary L1: mean cross-entropy of the labels, and the next token's loss by its weight."""
        assert isinstance(network, Classifier)
        hidden = network.hidden(batch)
        language, figures = self.language_loss(network, batch, hidden)
        known = batch.labels != NO_LABEL
        logits_PK, labels_P = network.logits(batch, hidden)[known], batch.labels[known]
        nats = F.cross_entropy(logits_PK, labels_P, reduction="sum")
        right = (logits_PK.argmax(1) == labels_P).sum()
        count = len(labels_P)
        loss = nats / max(1, count) + self.auxiliary * language
        return loss, {**figures, LABEL: Mean(nats.detach(), count), ACCURACY: Mean(right.float(), count)}

    def metrics(self, network: Network) -> list[str]:
        return [*super().metrics(network), LABEL, ACCURACY]

    def held_out_loss(self, network: Network, means: Mapping[str, float]) -> float:
        slots = {name: mean for name, mean in means.items() if name not in (LABEL, ACCURACY)}
        return means[LABEL] + self.auxiliary * super().held_out_loss(network, slots)
