"""Judges of candidates, by name: how well they fit what is given, by how likely a model finds it, and those of plugins.

Shapes: B items of one layout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from helicon.bundle.bundle import Bundle
from helicon.plugins.loading import in_one_line
from helicon.plugins.registry import Registry
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import NO_TARGET

AT_A_TIME = 32


@torch.inference_mode()
def item_nats(bundle: Bundle, layout: Layout, examples: Sequence[Mapping[str, np.ndarray]], slot: str) -> Tensor:
    """-log p of a slot's tokens given what is before them, float64 [B]. A condition that an example lacks is filler."""
    gpt, sequencer = bundle.gpt.eval(), bundle.sequencer
    device, found = gpt.head_weight.device, []
    for start in range(0, len(examples), AT_A_TIME):
        packed = [sequencer.pack(layout, example, plan=False) for example in examples[start : start + AT_A_TIME]]
        # Shorter ones end with what is never a target
        ids, coord_ids, targets = (
            pad_sequence([torch.from_numpy(getattr(each, name)) for each in packed], True, value).to(device)
            for name, value in (("ids", 0), ("coord_ids", 0), ("targets", NO_TARGET))
        )
        (span,) = (span for span in sequencer.target_spans(layout, ids.shape[1]) if span.slot == slot)
        hidden = gpt(ids, coord_ids, layout.frame)[:, span.positions]
        nats = gpt.token_nats(hidden, targets[:, span.positions], span.vocab_slice)
        found.append(nats.cpu().double().sum(-1))
    return torch.cat(found) if found else torch.empty(0, dtype=torch.float64)


def fit_to_conditions(
    bundle: Bundle, layout: Layout, given: Mapping[str, np.ndarray], made: Sequence[np.ndarray]
) -> Tensor:  # fmt: skip
    """How well each of what was made fits what was given, float64 [B]: log p(given | made), up to a constant.

    By a layout of the same model that goes the other way, if there is one, as DALL·E's candidates were ranked by
    another model, CLIP; otherwise by Bayes' rule, log p(made | given) - log p(made).
    """
    name = layout.target.name
    for other in bundle.schema.layouts:
        slots = set(other.all_slots)
        if other.target.name in given and name in slots and slots <= {name, *given}:
            examples = [{**given, name: ids} for ids in made]
            return -item_nats(bundle, other, examples, other.target.name)
    known = item_nats(bundle, layout, [{**given, name: ids} for ids in made], name)
    free = bundle.sequencer.null_conditions(given)
    return item_nats(bundle, layout, [{**free, name: ids} for ids in made], name) - known


class Candidates:
    """What several items were made of and from, for a judge.

    Args:
        bundle: the model.
        layout: what it made, its last slot.
        given: ids of the conditions, by slot.
        ids: of each item, [T].
    """

    def __init__(
        self, bundle: Bundle, layout: Layout, given: Mapping[str, np.ndarray], ids: Sequence[np.ndarray]
    ) -> None:  # fmt: skip
        self.bundle, self.layout, self.given, self.ids = bundle, layout, given, ids

    @cached_property
    def media(self) -> list[Any]:
        """Each item, decoded."""
        return self.bundle.decode(self.layout.target.name, self.ids)


Judge = Callable[[Candidates], Tensor | Sequence[float]]
JUDGES: Registry[Judge] = Registry("judge")


def register_judge(name: str) -> Callable[[Judge], Judge]:
    """Decorates a judge of what is made, `--best-of N --by NAME`.

    Args:
        name: of the judge.

    Returns:
        A decorator of a function that gives a score of each candidate, of which the highest is the best.

    Raises:
        PluginError: for the name of another one.
    """
    return lambda judge: JUDGES.register(name, judge)


@register_judge("fit")
def fit(candidates: Candidates) -> Tensor:
    """How well each fits what is given."""
    return fit_to_conditions(candidates.bundle, candidates.layout, candidates.given, candidates.ids)


def judged(name: str, candidates: Candidates) -> list[float]:
    """Scores of all candidates; PluginError for a judge that fails, or gives no number for each."""
    judge, needed = JUDGES.get(name), f"{len(candidates.ids)} finite numbers are needed, one a candidate"
    with JUDGES.running(name):
        found = judge(candidates)
    try:
        scores = torch.as_tensor(found, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise JUDGES.fault(name, f"{needed} ({in_one_line(error)})") from error
    if scores.shape != (len(candidates.ids),) or not scores.isfinite().all():
        raise JUDGES.fault(name, needed)
    return scores.tolist()
