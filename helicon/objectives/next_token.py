"""Next-token prediction: cross-entropy of each slot, over the number of positions that full sequences have for it.

Shapes: P sequences of a batch, T tokens of the longest of them, C width, N targets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from helicon.formats.checked import number, shown
from helicon.formats.nearest import unknown
from helicon.formats.printable import printable
from helicon.gpt.cross_entropy import Scored
from helicon.gpt.model import GPT
from helicon.objectives.base import Batch, Mean, Network, Objective
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import Sequencer

if TYPE_CHECKING:
    from helicon.bundle.bundle import Bundle


@dataclass(frozen=True, kw_only=True)
class NextToken(Objective):
    """Next-token prediction, as GPT (Radford 2018, equation 1) and DALL·E (arXiv:2102.12092) are trained.

    Args:
        slot_weights: weight of each slot's mean loss; the slot that is made has 1 and conditions 0 unless named.
    """

    slot_weights: dict[str, float] | None = None

    def __post_init__(self) -> None:
        if self.slot_weights is not None and not isinstance(self.slot_weights, dict):
            raise ValueError(f"slot_weights {shown(self.slot_weights)}: a number for each slot is accepted")
        for slot, weight in (self.slot_weights or {}).items():
            number(f"slot_weights of {printable(slot, 60)}", weight)

    def build(self, bundle: Bundle) -> Network:
        network, schema = super().build(bundle), bundle.sequencer.schema
        for slot in self.slot_weights or {}:
            if slot not in bundle.sequencer.tokenizers:
                raise ValueError(f"--model.slot_weights: {unknown('slot', slot, bundle.sequencer.tokenizers)}")
        if not all(self._weighted(layout) for layout in schema.layouts):
            raise ValueError("--model.slot_weights: a layout without a slot that has a weight learns nothing")
        return network

    def loss(self, network: Network, batch: Batch) -> tuple[Tensor, dict[str, Mean]]:
        """Compute the weighted sum of the slots' losses.

        A slot's loss is its -log p divided by a constant, the positions that full sequences have for it, not by its
        targets in this batch. So a token has the same weight in every batch.

        Args:
            network: the `Network` that `build` made.
            batch: `Batch` of sequences.

        Returns:
            Loss, a scalar tensor with a gradient, and nats a token by slot, a `Mean` each.
        """
        return self.language_loss(network, batch, network.hidden(batch))

    def language_loss(self, network: Network, batch: Batch, hidden_PTC: Tensor) -> tuple[Tensor, dict[str, Mean]]:
        """Compute `loss`, the weighted mean nats of all slots, from hidden states that are there already.

        Args:
            network: the `Network` that `build` made.
            batch: `Batch` of P sequences of T tokens.
            hidden_PTC: hidden states of the batch, [P, T, C], C the GPT's width.

        Returns:
            Loss, a scalar tensor with a gradient, and nats a token by slot, a `Mean` each.
        """
        layout, sequencer = network.layout(batch), network.sequencer
        nats = slot_nats(network.gpt, sequencer, batch, self._weighted(layout), hidden_PTC)
        lengths = {slot.name: slot.length or sequencer.target_capacity(layout) for slot in layout.slots}
        losses = (self._weight(layout, slot) * total / lengths[slot] for slot, (total, _) in nats.items())
        loss = sum(losses, torch.zeros((), device=hidden_PTC.device)) / batch.sequences
        return loss, {slot: Mean(total.detach(), count) for slot, (total, count) in nats.items()}

    def metrics(self, network: Network) -> list[str]:
        return sorted({slot for layout in network.sequencer.schema.layouts for slot in self._weighted(layout)})

    def val_loss(self, network: Network, means: Mapping[str, float]) -> float:
        """Sum the mean nats a token of all slots by weight.

        Args:
            network: the `Network` that `build` made.
            means: mean of each figure, by name; those that are no slot's count for nothing.

        Returns:
            The validation loss.
        """
        weights = {layout.target.name: 1.0 for layout in network.sequencer.schema.layouts} | (self.slot_weights or {})
        return sum(weights.get(name, 0.0) * mean for name, mean in means.items())

    def _weight(self, layout: Layout, slot: str) -> float:
        return (self.slot_weights or {}).get(slot, 1.0 if slot == layout.target.name else 0.0)

    def _weighted(self, layout: Layout) -> list[str]:
        return [slot.name for slot in layout.slots if self._weight(layout, slot.name)]


def slot_nats(
    gpt: GPT, sequencer: Sequencer, batch: Batch, slots: Collection[str], hidden_PTC: Tensor | None = None
) -> dict[str, tuple[Tensor, int]]:  # fmt: skip
    """Sum -log p of each slot's targets. Only positions with a target, and the slot's rows, reach the output matrix.

    Args:
        gpt: the model.
        sequencer: `Sequencer` of the model's layouts.
        batch: `Batch` of P sequences of T tokens.
        slots: names of the slots to score.
        hidden_PTC: hidden states of the batch, [P, T, C], C the GPT's width; None computes them.

    Returns:
        By name of the slot: total nats, a scalar tensor, and the number of targets.
    """
    layout = sequencer.schema.layouts[batch.layout]
    states_PTC = hidden_PTC
    if states_PTC is None:
        states_PTC = gpt(batch.ids, batch.coord_ids, layout.frame, lengths_B=batch.lengths)
    spans = [span for span in sequencer.target_spans(layout, batch.ids.shape[1]) if span.slot in slots]
    scored = []
    for span in spans:
        targets = batch.targets[:, span.positions]
        pieces, positions = (targets >= 0).nonzero(as_tuple=True)  # synchronises with a GPU, once a slot
        hidden_NC = states_PTC[pieces, positions + span.positions.start]
        scored.append(Scored(hidden_NC, span.vocab_slice, targets[pieces, positions] - span.vocab_slice.start))
    totals = gpt.nll_sum(scored)
    return {span.slot: (total, len(item.targets_N)) for span, total, item in zip(spans, totals, scored)}
