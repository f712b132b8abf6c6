"""Base class of objectives: kind of examples, modules beside the GPT, loss of a batch.

Shapes: P sequences of a batch, T tokens of the longest of them, A coordinate axes, C width, N positions of the target
slot, V tokens of that slot.
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

NO_LABEL = -1  # label number of an example without a label
MAX_LABELS = 1 << 16  # a bound for bundles from elsewhere
MAX_SAMPLES, MAX_TOKENS = 1 << 12, 1 << 20  # of rollouts: more would not fit in memory

Examples = Literal["sequences", "labelled", "pairs", "rollouts"]  # kinds of training examples


class Batch(NamedTuple):
    """Right-padded sequences of one layout, each an example's window; all tensors are int64 except `allowed`.

    In a batch of pairs the first half of the sequences is chosen, the second half, in the same order, rejected.

    Attributes:
        layout: index of the layout in the schema.
        ids: [P, T], vocabulary rows that are fed.
        coord_ids: [P, T, A], rows of the coordinate table.
        targets: [P, T], vocabulary row that comes next; NO_TARGET where nothing is learned.
        lengths: [P], tokens of each sequence.
        labels: [P], label number of each sequence; NO_LABEL where it is unknown or not requested.
        examples: [P], index of each sequence's example in its corpus.
        sequences: full-context sequences that the batch stands for, a constant that losses are divided by.
        allowed: bool [P, N, V]; of rollouts under a grammar, the tokens that could be sampled; None for all.
        origin: number of the source that a validation batch is from, where there are several.
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
    origin: int = 0

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch with its tensors on a PyTorch device."""
        moved = {name: value.to(device) for name, value in self._asdict().items() if isinstance(value, Tensor)}
        return self._replace(**moved)


class Rollouts(NamedTuple):
    """Sequences sampled from the model itself, for learning from rewards (Ziegler 2019, arXiv:1909.08593).

    No tensor has a gradient.

    Attributes:
        pieces: `samples` consecutive sequences for each example, under its conditions.
        old: float32 [P, T], log-probability of each target when it was sampled, among the allowed tokens; 0 where
            there is no target.
        reference: the same by the frozen reference model.
        rewards: float32 [P].
    """

    pieces: Batch
    old: Tensor
    reference: Tensor
    rewards: Tensor


class Mean(NamedTuple):
    """Figure of a batch, as a sum and the number of tokens or sequences in it; both are added up over batches."""

    total: Tensor
    number: int


class Network(nn.Module):
    """GPT with the modules that an objective needs beside it, as child modules.

    Args:
        bundle: GPT, layouts, tokenizers and labels.
    """

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        self.gpt, self.sequencer, self.labels = bundle.gpt, bundle.sequencer, bundle.labels

    def layout(self, batch: Batch) -> Layout:
        """Return the `Layout` of a `Batch`."""
        return self.sequencer.schema.layouts[batch.layout]

    def hidden(self, batch: Batch) -> Tensor:
        """Compute the GPT's hidden states of a `Batch` after its final norm: [P, T, C], 0 at padding.

        P sequences of T tokens, C the GPT's width.
        """
        return self.gpt(batch.ids, batch.coord_ids, self.layout(batch).frame, lengths_B=batch.lengths)

    def log_probabilities(self, batch: Batch, gpt: GPT | None = None) -> Tensor:
        """Compute the log-probability of each target of the target slot.

        Args:
            batch: a `Batch`; of rollouts only the allowed tokens have a probability, so forced tokens have 0.
            gpt: another GPT, such as a frozen reference; None for the network's own.

        Returns:
            Nats, float32 [P, T] for P sequences of T tokens; 0 where there is no target.
        """
        model, layout = gpt or self.gpt, self.layout(batch)
        span = self.sequencer.target_spans(layout, batch.ids.shape[1])[-1]
        hidden_PTC = model(batch.ids, batch.coord_ids, layout.frame, lengths_B=batch.lengths)
        targets_PN = batch.targets[:, span.positions]
        nats_PN = model.token_nll(hidden_PTC[:, span.positions], targets_PN, span.vocab_slice, batch.allowed)
        return F.pad(-nats_PN, (span.positions.start, batch.ids.shape[1] - span.positions.stop))


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """Learning objective. Its fields are options, `--model.NAME`; the docstring's `Args:` are their help.

    Attributes:
        examples: kind of examples: `sequences`; `labelled`, sequences with a label and without conditions, which might
            reveal it; `pairs` of a manifest, of which one is preferred; `rollouts`, sampled from the model itself.
        kept: child modules of the network that a bundle stores beside the GPT.
        use: command that uses a trained model, without `helicon`.
    """

    examples: ClassVar[Examples] = "sequences"
    kept: ClassVar[tuple[str, ...]] = ()
    use: ClassVar[str] = "generate {run} -n 4 --seed 1 -o out"

    @property
    def blind(self) -> bool:
        """True if conditions are left out, since some might reveal the label."""
        return self.examples == "labelled"

    def build(self, bundle: Bundle) -> Network:
        """Make the `Network`: the GPT of a `Bundle` with freshly initialised modules beside it.

        Raises:
            ValueError: an option that does not fit the bundle's layouts; one line that names it.
        """
        return Network(bundle)

    @abstractmethod
    def loss(self, network: Network, batch: Any) -> tuple[Tensor, dict[str, Mean]]:
        """Compute the loss of a batch.

        Args:
            network: the `Network` that `build` made.
            batch: a `Batch`; `Rollouts` if `examples` says so.

        Returns:
            Loss, a scalar tensor with a gradient, and figures to log by name, a `Mean` each.
        """

    @abstractmethod
    def metrics(self, network: Network) -> Sequence[str]:
        """Return the names of all figures that `loss` may give for a `Network` of `build`."""

    @abstractmethod
    def val_loss(self, network: Network, means: Mapping[str, float]) -> float:
        """Compute the validation loss, by which checkpoints are compared; lower is better.

        Args:
            network: the `Network` that `build` made.
            means: mean of each figure over the validation part, by name.

        Returns:
            The loss.
        """

    def report(self, network: Network, batches: Iterable[Batch]) -> dict[str, Any]:
        """Report measurements beside the loss, for `helicon eval`.

        Args:
            network: the `Network` that `build` made.
            batches: `Batch`es of windows of all examples.

        Returns:
            JSON-able figures by name; empty for none.
        """
        return {}

    def table(self, report: Mapping[str, Any]) -> list[str]:
        """Format a report, the result of `report`, as a list of lines for people."""
        return []

    def draw(self, report: Mapping[str, Any], path: Path) -> str:
        """Draw a report as a PNG.

        Args:
            report: result of `report`.
            path: file to write.

        Returns:
            Caption of the picture; empty if there is none.
        """
        return ""


class Referred(Network):
    """Network with a frozen reference: a copy of the GPT at the start of training."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle)
        self.reference = deepcopy(bundle.gpt).requires_grad_(False)

    def reference_log_probabilities(self, batch: Batch) -> Tensor:
        """Compute `log_probabilities` of a `Batch` by the frozen reference, without gradient and dropout.

        The result is nats, float32 [P, T] for P sequences of T tokens; 0 where there is no target.

        Raises:
            ValueError: the network comes from a bundle that has not stored the reference.
        """
        if "reference" not in dict(self.named_children()):
            raise ValueError("a bundle has the reference only where the objective says kept = ('reference',)")
        with torch.no_grad():
            return self.log_probabilities(batch, self.reference.eval())


@dataclass(frozen=True, kw_only=True)
class Rewarded(Objective):
    """Objective that learns from rewards of sampled sequences, under the conditions of the training data.

    Args:
        samples: pieces made for each example's conditions.
        sample_tokens: of each of them at most; as many as a window has unless given.
    """

    examples: ClassVar[Examples] = "rollouts"

    samples: int = 4
    sample_tokens: int | None = None

    def __post_init__(self) -> None:
        integer("samples", self.samples, 1, MAX_SAMPLES)
        if self.sample_tokens is not None:
            integer("sample_tokens", self.sample_tokens, 1, MAX_TOKENS)

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
    def rewards(self, network: Network, candidates: Candidates) -> Tensor | Sequence[float]:
        """Compute the rewards of sequences sampled under the same conditions.

        Args:
            network: the `Network` that `build` made.
            candidates: `Candidates`, `samples` sequences for the conditions of one example.

        Returns:
            Rewards, floats [samples] in order of the sequences; higher is better.
        """
