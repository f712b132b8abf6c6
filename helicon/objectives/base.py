"""The seam of an objective: what it needs beyond a GPT, and the loss of a batch.

Shapes: P pieces of a batch, T tokens of the longest of them, A coordinate axes, C width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from helicon.sequence.layout import Layout

if TYPE_CHECKING:
    from helicon.bundle.bundle import Bundle

NO_LABEL = -1
MOST_LABELS = 1 << 16


class Batch(NamedTuple):
    """One layout's pieces, each a sequence of its own, filled up on the right to the longest of them. All int64.

    layout: its number. ids [P, T], rows [P, T, A], targets [P, T] (NO_TARGET: nothing to learn), lengths [P]: of each
    piece. labels [P]: number of each piece's label, NO_LABEL where none is known or asked for. examples [P]: number of
    each piece's example in its corpus. sequences: of the full context that the batch stands for, whose number does not
    depend on how long its pieces are.
    """

    layout: int
    ids: Tensor
    rows: Tensor
    targets: Tensor
    lengths: Tensor
    labels: Tensor
    examples: Tensor
    sequences: int

    def to(self, device: torch.device | str) -> Batch:
        """The same on a device."""
        ids, rows, targets, lengths, labels, examples = (tensor.to(device) for tensor in self[1:7])
        return Batch(self.layout, ids, rows, targets, lengths, labels, examples, self.sequences)


class Mean(NamedTuple):
    """A figure of a batch: its sum, and the number of tokens or pieces it is over. Both are added up over batches."""

    total: Tensor
    number: int


class Network(nn.Module):
    """A GPT and, as children beside it, what an objective needs beyond it.

    Args:
        bundle: the GPT with its layouts and tokenizers, and the labels that examples are numbered by.
    """

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        self.gpt, self.sequencer, self.labels = bundle.gpt, bundle.sequencer, bundle.labels

    def layout(self, batch: Batch) -> Layout:
        """The layout of a batch."""
        return self.sequencer.schema.layouts[batch.layout]

    def hidden(self, batch: Batch) -> Tensor:
        """[P, T, C]: the GPT's states after its final norm, 0 beyond the pieces."""
        return self.gpt(batch.ids, batch.rows, self.layout(batch).frame, lengths_B=batch.lengths)


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """What is learned from examples. Its fields are options, `--model.NAME`, told by its docstring under `Args:`.

    labelled: whether it learns from pieces that have a label; then a piece's conditions, of which some may tell the
    label, are left out. kept: children of its network that a bundle has beside the GPT. use: the command for a trained
    model, without `helicon`.
    """

    labelled: ClassVar[bool] = False
    kept: ClassVar[tuple[str, ...]] = ()
    use: ClassVar[str] = "generate {run} -n 4 --seed 1 -o out"

    def build(self, bundle: Bundle) -> Network:
        """The GPT of a bundle with what the objective needs beyond it, freshly initialised.

        Raises:
            ValueError: for an option that does not go with the bundle's layouts, in one line that names it.
        """
        return Network(bundle)

    @abstractmethod
    def loss(self, network: Network, batch: Batch) -> tuple[Tensor, dict[str, Mean]]:
        """(loss, a number with a gradient; figures that are logged, by name) of a batch."""

    @abstractmethod
    def metrics(self, network: Network) -> Sequence[str]:
        """Names of all figures that `loss` may give."""

    @abstractmethod
    def held_out_loss(self, network: Network, means: Mapping[str, float]) -> float:
        """What validations compare models by, of the means of the figures over all that is held out."""

    def report(self, network: Network, batches: Iterable[Batch]) -> dict[str, Any]:
        """What `helicon eval` says beside the loss of a layout, JSON-able, of the windows of all pieces."""
        return {}

    def table(self, report: Mapping[str, Any]) -> list[str]:
        """A report in lines for people."""
        return []

    def draw(self, report: Mapping[str, Any], path: Path) -> str:
        """Writes a PNG of a report to `path` and returns what it shows; empty, and no picture, where it has none."""
        return ""
