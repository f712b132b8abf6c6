"""Judges that rank candidates, by name: fit to the conditions by likelihood, and those of plugins.

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

BATCH_SIZE = 32  # sequences that are scored together


@torch.inference_mode()
def item_nats(bundle: Bundle, layout: Layout, examples: Sequence[Mapping[str, np.ndarray]], slot: str) -> Tensor:
    """Compute -log p of a slot's tokens given all that comes before them.

    Args:
        bundle: `Bundle`, model.
        layout: `Layout` of the examples.
        examples: B items, each slot -> local ids, NumPy [T]; a condition that an example lacks is padding.
        slot: name of the slot that is scored.

    Returns:
        Nats of each item, 0 or more, float64 [B] on the CPU: sums over the tokens, `eos` included.
    """
    gpt, sequencer = bundle.gpt.eval(), bundle.sequencer
    device, sums = gpt.head_weight.device, []
    for start in range(0, len(examples), BATCH_SIZE):
        packed = [sequencer.pack(layout, example, plan=False) for example in examples[start : start + BATCH_SIZE]]
        # Right padding of shorter sequences is never a target
        ids, coord_ids, targets = (
            pad_sequence([torch.from_numpy(getattr(sequence, name)) for sequence in packed], True, value).to(device)
            for name, value in (("ids", 0), ("coord_ids", 0), ("targets", NO_TARGET))
        )
        (span,) = (span for span in sequencer.target_spans(layout, ids.shape[1]) if span.slot == slot)
        hidden = gpt(ids, coord_ids, layout.frame)[:, span.positions]
        nats = gpt.token_nll(hidden, targets[:, span.positions], span.vocab_slice)
        sums.append(nats.cpu().double().sum(-1))
    return torch.cat(sums) if sums else torch.empty(0, dtype=torch.float64)


def fit_to_conditions(
    bundle: Bundle, layout: Layout, conditions: Mapping[str, np.ndarray], candidates: Sequence[np.ndarray]
) -> Tensor:  # fmt: skip
    """Score how well candidates fit their conditions: log p(conditions | candidate), up to a constant.

    By a layout of the same model in the other direction, if there is one (DALL·E's candidates were ranked by another
    model, CLIP); otherwise by Bayes' rule, log p(candidate | conditions) - log p(candidate).

    Args:
        bundle: `Bundle`, model.
        layout: `Layout` that made the candidates.
        conditions: slot -> local ids, NumPy int64 [T].
        candidates: B arrays, local ids [T] of each candidate's target slot.

    Returns:
        Scores in nats, float64 [B]; higher is better.
    """
    name = layout.target.name
    for other in bundle.schema.layouts:
        slots = set(other.all_slots)
        if other.target.name in conditions and name in slots and slots <= {name, *conditions}:
            examples = [{**conditions, name: ids} for ids in candidates]
            return -item_nats(bundle, other, examples, other.target.name)
    cond_nats = item_nats(bundle, layout, [{**conditions, name: ids} for ids in candidates], name)
    nulls = bundle.sequencer.null_conditions(conditions)
    return item_nats(bundle, layout, [{**nulls, name: ids} for ids in candidates], name) - cond_nats


class Candidates:
    """Candidates of one request, for a judge.

    Args:
        bundle: model.
        layout: layout that made them; they fill its target slot.
        conditions: slot -> local ids of the condition, int64 [T].
        ids: local ids [T] of each candidate's target slot.
    """

    def __init__(
        self, bundle: Bundle, layout: Layout, conditions: Mapping[str, np.ndarray], ids: Sequence[np.ndarray]
    ) -> None:  # fmt: skip
        self.bundle, self.layout, self.conditions, self.ids = bundle, layout, conditions, ids

    @cached_property
    def media(self) -> list[Any]:
        """Decoded media object of each candidate, such as a `Score`, in order."""
        return self.bundle.decode(self.layout.target.name, self.ids)


Judge = Callable[[Candidates], Tensor | Sequence[float]]  # candidates -> score of each, higher is better
JUDGES: Registry[Judge] = Registry("judge")  # the names of `--by`


def register_judge(name: str) -> Callable[[Judge], Judge]:
    """Decorate a judge of candidates, used by `--best-of N --by NAME`.

    Args:
        name: of the judge.

    Returns:
        A decorator of a function from `Candidates` to a score for each of them, a tensor [B] or floats; higher is
        better.

    Raises:
        PluginError: another judge has the name.
    """
    return lambda judge: JUDGES.register(name, judge)


@register_judge("fit")
def fit(candidates: Candidates) -> Tensor:
    """Score `Candidates` by the fit to their conditions: `fit_to_conditions`, in nats, float64 [B]."""
    return fit_to_conditions(candidates.bundle, candidates.layout, candidates.conditions, candidates.ids)


def judge_scores(name: str, candidates: Candidates) -> list[float]:
    """Compute the scores of all candidates.

    Args:
        name: of the judge, as it is registered.
        candidates: `Candidates` of one request.

    Returns:
        A finite score for each candidate, a list in their order; higher is better.

    Raises:
        PluginError: the judge fails, or does not return one finite number a candidate.
    """
    judge, needed = JUDGES.get(name), f"{len(candidates.ids)} finite numbers are needed, one a candidate"
    with JUDGES.running(name):
        output = judge(candidates)
    try:
        scores = torch.as_tensor(output, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise JUDGES.fault(name, f"{needed} ({in_one_line(error)})") from error
    if scores.shape != (len(candidates.ids),) or not scores.isfinite().all():
        raise JUDGES.fault(name, needed)
    return scores.tolist()
