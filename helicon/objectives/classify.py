"""Classification of sequences, with next-token prediction as auxiliary objective (GPT-1, Radford 2018, section 3.2).

Shapes: P sequences of a batch, N examples, K labels, C width.
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
from helicon.formats.quantities import quantity
from helicon.objectives.base import NO_LABEL, Batch, Examples, Mean, Network
from helicon.objectives.next_token import NextToken

if TYPE_CHECKING:
    from helicon.bundle.bundle import Bundle

LABEL, ACCURACY = "label", "accuracy"  # names of figures
MAX_TABLE_LABELS = 12  # labels of a printed confusion table; of more labels the commonest mistakes are listed


class Classifier(Network):
    """GPT with a linear head on the hidden state of each sequence's last token.

    Args:
        bundle: GPT, layouts, tokenizers and labels.
        dropout: probability, before the head.
    """

    def __init__(self, bundle: Bundle, dropout: float) -> None:
        super().__init__(bundle)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(bundle.gpt.config.width, len(bundle.labels))
        if not self.head.weight.is_meta:
            nn.init.normal_(self.head.weight, std=0.02)
            nn.init.zeros_(self.head.bias)

    def logits(self, batch: Batch, hidden_PTC: Tensor) -> Tensor:
        """Compute the logits of the labels.

        Args:
            batch: `Batch` of P sequences of T tokens.
            hidden_PTC: hidden states of the batch, [P, T, C], C the GPT's width.

        Returns:
            Logits float32 [P, K] of K labels, from the last fed token of each sequence.
        """
        last_PC = hidden_PTC[torch.arange(len(batch.lengths), device=hidden_PTC.device), batch.lengths - 1]
        return self.head(self.dropout(last_PC.to(self.head.weight.dtype))).float()


@dataclass(frozen=True, kw_only=True)
class Classify(NextToken):
    """Classification of sequences by the labels of the training data.

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
        """Compute L3 = L2 + auxiliary L1: mean cross-entropy of the labels, and the weighted next-token loss.

        Args:
            network: `Network`, a `Classifier`.
            batch: `Batch` of sequences with labels; those with NO_LABEL count only for the next token.

        Returns:
            Loss, a scalar tensor, and a `Mean` by name: nats of each slot by its name, nats of the `label`; `accuracy`.
        """
        assert isinstance(network, Classifier)
        hidden = network.hidden(batch)
        language, figures = self.language_loss(network, batch, hidden)
        has_label_P = batch.labels != NO_LABEL
        logits_PK, labels_P = network.logits(batch, hidden)[has_label_P], batch.labels[has_label_P]
        nats = F.cross_entropy(logits_PK, labels_P, reduction="sum")
        right = (logits_PK.argmax(1) == labels_P).sum()
        count = len(labels_P)
        loss = nats / max(1, count) + self.auxiliary * language
        return loss, {**figures, LABEL: Mean(nats.detach(), count), ACCURACY: Mean(right.float(), count)}

    def metrics(self, network: Network) -> list[str]:
        return [*super().metrics(network), LABEL, ACCURACY]

    def val_loss(self, network: Network, means: Mapping[str, float]) -> float:
        return means[LABEL] + self.auxiliary * super().val_loss(network, means)

    def report(self, network: Network, batches: Iterable[Batch]) -> dict[str, Any]:
        """Measure accuracy, nats a label and the confusion matrix.

        Args:
            network: `Network`, a `Classifier`.
            batches: `Batch`es of windows of all examples.

        Returns:
            JSON-able figures of the examples with a label, empty without any: `pieces`, their number; `labels`, names;
            `confusion`, counts with a row a true label and a column a predicted one; `accuracy`, 0 .. 1; and
            `nats_per_label`, lower is better.
        """
        labels: dict[int, int] = {}

        def noting() -> Iterable[Batch]:
            for batch in batches:
                labels.update(zip(batch.examples.tolist(), batch.labels.tolist()))
                yield batch

        logp = log_probabilities(network, noting())
        labelled = [example for example, label in labels.items() if label != NO_LABEL]
        if not labelled:
            return {}
        counts = np.zeros((len(network.labels), len(network.labels)), np.int64)
        for example in labelled:
            counts[labels[example], int(logp[example].argmax())] += 1
        nats = -np.mean([float(logp[example][labels[example]]) for example in labelled])
        return {
            "pieces": len(labelled), "labels": list(network.labels), "confusion": counts.tolist(),
            "accuracy": float(np.trace(counts) / len(labelled)), "nats_per_label": float(nats),
        }  # fmt: skip

    def table(self, report: Mapping[str, Any]) -> list[str]:
        right, nats = 100 * report["accuracy"], report["nats_per_label"]
        pieces = quantity(report["pieces"], "piece")
        chance = 100 * max(map(sum, report["confusion"])) / report["pieces"]
        lines = [
            f"accuracy   {right:.1f} % of {pieces}; the most frequent label alone: {chance:.1f} %",
            f"loss       {nats:.4f} nats a label; guessing: {np.log(len(report['labels'])):.4f}; lower is better",
        ]
        names, counts = [printable(label, 20) for label in report["labels"]], np.array(report["confusion"])
        if len(names) > MAX_TABLE_LABELS:
            wrong = counts - np.diag(np.diag(counts))
            most = np.argsort(-wrong, axis=None, kind="stable")[:MAX_TABLE_LABELS]
            pairs = [np.unravel_index(place, wrong.shape) for place in most if wrong.flat[place]]
            return lines + [
                f"  {names[true]} taken for {names[label]}: {wrong[true, label]:,}" for true, label in pairs
            ]
        width = max(len(f"{counts.max():,}"), *map(len, names)) + 1
        lines.append(f"  {'true, taken for':20}" + "".join(f"{name:>{width}}" for name in names))
        rows = zip(names, counts)
        return lines + [f"  {name:20}" + "".join(f"{count:>{width},}" for count in row) for name, row in rows]

    def draw(self, report: Mapping[str, Any], path: Path) -> str:
        confusion(report["confusion"], report["labels"], path)
        pieces = quantity(report["pieces"], "validation piece")
        return f"Labels of {pieces}, and what they are classified as; accuracy {100 * report['accuracy']:.1f} %."


@torch.inference_mode()
def log_probabilities(network: Network, batches: Iterable[Batch]) -> dict[int, Tensor]:
    """Compute log-probabilities of the labels of each example.

    Args:
        network: `Network`, a `Classifier`, put into eval mode.
        batches: `Batch`es of windows of the examples.

    Returns:
        Nats, a tensor float64 [K] of K labels by index of the example in its corpus; of several windows the mean,
        renormalised.

    Raises:
        ValueError: NaN or infinity.
    """
    assert isinstance(network, Classifier)
    network.eval()
    windows: dict[int, list[Tensor]] = {}
    for batch in batches:
        logp_PK = network.logits(batch, network.hidden(batch)).double().log_softmax(1).cpu()
        if not torch.isfinite(logp_PK).all():
            raise ValueError("the classification head gives numbers that are not finite: its weights are damaged")
        for example, logp_K in zip(batch.examples.tolist(), logp_PK):
            windows.setdefault(example, []).append(logp_K)
    return {example: torch.stack(logs).mean(0).log_softmax(0) for example, logs in windows.items()}
