"""Classification of whole pieces, beside the next token: GPT-1's fine-tuning (Radford 2018, section 3.2).

Shapes: P pieces of a batch, N examples, K labels, C width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helicon.formats.checked import number
from helicon.formats.plots import confusion
from helicon.formats.printable import printable
from helicon.objectives.base import NO_LABEL, Batch, Examples, Mean, Network
from helicon.objectives.next_token import NextToken

if TYPE_CHECKING:
    from helicon.bundle.bundle import Bundle

LABEL, ACCURACY = "label", "accuracy"  # figures
WIDEST = 12  # labels whose confusion is told as a table; of more the most frequent mistakes


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

    examples: ClassVar[Examples] = "labelled"
    kept: ClassVar[tuple[str, ...]] = ("head",)
    use: ClassVar[str] = "classify {run} FILE..."

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
        return means[LABEL] + self.auxiliary * super().held_out_loss(network, means)

    def report(self, network: Network, batches: Iterable[Batch]) -> dict[str, Any]:
        """Accuracy, nats a label and how often each label is taken for which: `confusion` has a row for each true one.

        Of pieces that have a label; nothing where there are none.
        """
        labels: dict[int, int] = {}

        def noting() -> Iterable[Batch]:
            for batch in batches:
                labels.update(zip(batch.examples.tolist(), batch.labels.tolist()))
                yield batch

        found = log_probabilities(network, noting())
        known = [example for example, label in labels.items() if label != NO_LABEL]
        if not known:
            return {}
        counts = np.zeros((len(network.labels), len(network.labels)), np.int64)
        for example in known:
            counts[labels[example], int(found[example].argmax())] += 1
        nats = -np.mean([float(found[example][labels[example]]) for example in known])
        return {
            "pieces": len(known), "labels": list(network.labels), "confusion": counts.tolist(),
            "accuracy": float(np.trace(counts) / len(known)), "nats_per_label": float(nats),
        }  # fmt: skip

    def table(self, report: Mapping[str, Any]) -> list[str]:
        right, nats = 100 * report["accuracy"], report["nats_per_label"]
        lines = [f"label      {right:.1f} % right of {report['pieces']:,} pieces, {nats:.4f} nats each"]
        names, counts = [printable(label, 20) for label in report["labels"]], np.array(report["confusion"])
        if len(names) > WIDEST:
            wrong = counts - np.diag(np.diag(counts))
            most = np.argsort(-wrong, axis=None, kind="stable")[:WIDEST]
            pairs = [np.unravel_index(place, wrong.shape) for place in most if wrong.flat[place]]
            return lines + [f"  {names[true]} taken for {names[said]}: {wrong[true, said]:,}" for true, said in pairs]
        width = max(len(f"{counts.max():,}"), *map(len, names)) + 1
        lines.append(f"  {'true, taken for':20}" + "".join(f"{name:>{width}}" for name in names))
        rows = zip(names, counts)
        return lines + [f"  {name:20}" + "".join(f"{count:>{width},}" for count in row) for name, row in rows]

    def draw(self, report: Mapping[str, Any], path: Path) -> str:
        confusion(report["confusion"], report["labels"], path)
        right = f"{100 * report['accuracy']:.1f} % of {report['pieces']:,} held-out pieces"
        return f"What held-out pieces of each label are taken for: {right} are told right."


@torch.inference_mode()
def log_probabilities(network: Network, batches: Iterable[Batch]) -> dict[int, Tensor]:
    """Example -> float64 [K], its labels' log-probabilities: of several windows the mean, normalised once more."""
    assert isinstance(network, Classifier)
    network.eval()
    windows: dict[int, list[Tensor]] = {}
    for batch in batches:
        found_PK = network.logits(batch, network.hidden(batch)).double().log_softmax(1).cpu()
        if not torch.isfinite(found_PK).all():
            raise ValueError("the classification head gives numbers that are not finite: its weights are damaged")
        for example, found_K in zip(batch.examples.tolist(), found_PK):
            windows.setdefault(example, []).append(found_K)
    return {example: torch.stack(found).mean(0).log_softmax(0) for example, found in windows.items()}
