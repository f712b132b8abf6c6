"""How good a model is: nats a token of each slot, over every held-out token once."""

from __future__ import annotations

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor

from helicon.data.batches import Batch
from helicon.gpt.model import GPT
from helicon.tokenizers.sequencer import Sequencer


def slot_nats(gpt: GPT, sequencer: Sequencer, batch: Batch, slots: Collection[str]) -> dict[str, tuple[Tensor, int]]:
    """Slot -> (sum of -log p over its targets, their number), for the slots asked for.

    Only positions with a target reach the output matrix, and only the slot's rows of it are computed.
    """
    layout = sequencer.schema.layouts[batch.layout]
    hidden = gpt(batch.ids, batch.rows, layout.prefix)
    nats = {}
    for span in sequencer.spans(layout, batch.ids.shape[1]):
        if span.slot not in slots:
            continue
        targets = batch.targets[:, span.positions]
        real = targets >= 0
        logits = gpt.logits(hidden[:, span.positions][real], span.rows)
        total = F.cross_entropy(logits.float(), targets[real] - span.rows.start, reduction="sum")
        nats[span.slot] = (total, int(real.sum()))
    return nats
