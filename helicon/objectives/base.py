"""The seam of an objective: its kind of examples, what it needs beyond a GPT, and the loss of a batch.

Shapes: P pieces of a batch, T tokens of the longest of them, A coordinate axes, C width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from helicon.formats.checked import integer
from helicon.gpt.model import GPT
from helicon.sequence.layout import Layout

if TYPE_CHECKING:
    from helicon.bundle.bundle import Bundle
    from helicon.generation.ranking import Candidates

NO_LABEL = -1
MOST_LABELS = 1 << 16
MOST_SAMPLES, MOST_TOKENS = 1 << 12, 1 << 20  # of rollouts

Examples = Literal["sequences", "labelled", "pairs", "rollouts"]  # kinds of what is learned from


class Batch(NamedTuple):
    """One layout's pieces, each a sequence of its own, filled up on the right to the longest of them. All int64.

    Of pairs the first half of the pieces are the chosen ones and the second half, in the same order, the rejected ones.

    layout: its number. ids [P, T], rows [P, T, A], targets [P, T] (NO_TARGET: nothing to learn), lengths [P]: of each
    piece. labels [P]: number of each piece's label, NO_LABEL where none is known or asked for. examples [P]: number of
    each piece's example in its corpus. sequences: of the full context that the batch stands for, whose number does not
    depend on how long its pieces are. allowed [P, N, V], bool: of rollouts under a grammar the tokens, of those of the
    slot that is made, that could be drawn at each of its N positions; otherwise None, all of them.
    """

    layout: int
    ids: Tensor
    coord_ids: Tensor
    targets: Tensor
    lengths: Tensor
    labels: Tensor
    examples: Tensor
    sequences: int
    allowed: Tensor | None = None

    def to(self, device: torch.device | str) -> Batch:
        """The same on a device."""
        moved = {name: value.to(device) for name, value in self._asdict().items() if isinstance(value, Tensor)}
        return self._replace(**moved)


class Rollouts(NamedTuple):
    """Pieces that the model itself has made, for learning from rewards (Ziegler 2019, arXiv:1909.08593).

    pieces: each made under the conditions of an example of the data, `samples` of them in a row for each example.
    old, reference [P, T], float32: log-probability of each target when it was made, and by the frozen reference, among
    the tokens that could be drawn; 0 where there is nothing to learn. rewards [P], float32. All without a gradient.
    """

    pieces: Batch
    old: Tensor
    reference: Tensor
    rewards: Tensor


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
        return self.gpt(batch.ids, batch.coord_ids, self.layout(batch).frame, lengths_B=batch.lengths)

    def log_probabilities(self, batch: Batch, gpt: GPT | None = None) -> Tensor:
        """[P, T], float32: of each target of the slot that is made, 0 elsewhere; by another GPT, if one is given.

        Of rollouts among the tokens that could be drawn: what a grammar leaves no choice of has 0.
        """
        model, layout = gpt or self.gpt, self.layout(batch)
        span = self.sequencer.target_spans(layout, batch.ids.shape[1])[-1]
        hidden_PTC = model(batch.ids, batch.coord_ids, layout.frame, lengths_B=batch.lengths)
        targets_PN = batch.targets[:, span.positions]
        nats_PN = model.token_nll(hidden_PTC[:, span.positions], targets_PN, span.vocab_slice, batch.allowed)
        return F.pad(-nats_PN, (span.positions.start, batch.ids.shape[1] - span.positions.stop))


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """What is learned from examples. Its fields are options, `--model.NAME`, told by its docstring under `Args:`.

    examples: what it learns from: `sequences`, pieces with their conditions; `labelled`, pieces that have a label,
    without their conditions, of which some may tell it; `pairs` of a manifest, of which one is preferred; `rollouts`,
    pieces that the model itself makes. kept: children of its network that a bundle has beside the GPT. use: the command
    for a trained model, without `helicon`.
    """

    examples: ClassVar[Examples] = "sequences"
    kept: ClassVar[tuple[str, ...]] = ()
    use: ClassVar[str] = "generate {run} -n 4 --seed 1 -o out"

    @property
    def blind(self) -> bool:
        """Whether pieces are fed without their conditions, of which some may tell the label."""
        return self.examples == "labelled"

    def build(self, bundle: Bundle) -> Network:
        """The GPT of a bundle with what the objective needs beyond it, freshly initialised.

        Raises:
            ValueError: for an option that does not go with the bundle's layouts, in one line that names it.
        """
        return Network(bundle)

    @abstractmethod
    def loss(self, network: Network, batch: Any) -> tuple[Tensor, dict[str, Mean]]:
        """(loss, a number with a gradient; figures that are logged, by name) of a `Batch`, or of `Rollouts`."""

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


class Referred(Network):
    """A GPT, and a frozen copy of what it was when the training began."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.reference = deepcopy(bundle.gpt).requires_grad_(False)

    def reference_log_probabilities(self, batch: Batch) -> Tensor:
        """[P, T], float32, without a gradient: `log_probabilities` by the frozen reference, without dropout.

        ValueError where a bundle was opened that has not kept it.
        """
        if "reference" not in dict(self.named_children()):
            raise ValueError("a bundle has the reference only where the objective says kept = ('reference',)")
        with torch.no_grad():
            return self.log_probabilities(batch, self.reference.eval())


@dataclass(frozen=True, kw_only=True)
class Rewarded(Objective):
    """What is learned from rewards of pieces that the model makes under the conditions of its data.

    Args:
        samples: pieces made for each example's conditions.
        sample_tokens: of each of them at most; as many as a window has unless given.
    """

    examples: ClassVar[Examples] = "rollouts"

    samples: int = 4
    sample_tokens: int | None = None

    def __post_init__(self) -> None:
        integer("samples", self.samples, 1, MOST_SAMPLES)
        if self.sample_tokens is not None:
            integer("sample_tokens", self.sample_tokens, 1, MOST_TOKENS)

    def build(self, bundle: Bundle) -> Referred:
        layouts = bundle.schema.layouts
        for layout in layouts:
            if layout.target.guide:
                raise ValueError(f"layout `{layout}`: nothing is made of what follows another level; rewards need that")
        most = max(bundle.sequencer.target_capacity(layout) for layout in layouts) + 1
        if self.sample_tokens and self.sample_tokens > most:
            raise ValueError(f"--model.sample_tokens {self.sample_tokens}: 1 to {most} are accepted, as a window has")
        return Referred(bundle)

    @abstractmethod
    def rewards(self, network: Network, made: Candidates) -> Tensor | Sequence[float]:
        """[samples]: the reward of each piece that was made under the same conditions."""
