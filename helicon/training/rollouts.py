"""Rollouts: pieces that a model makes through the engine under the conditions of its data, and what they are worth.

Without Lightning. What is made is a function of the weights, the examples and a seed, on however many processes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from helicon.bundle.bundle import Bundle
from helicon.data.collate import gather
from helicon.data.corpus import Corpus
from helicon.generation.decode_request import Prompt, Sampling
from helicon.generation.engine import decode
from helicon.generation.ranking import Candidates
from helicon.objectives.base import Batch, Referred, Rewarded, Rollouts
from helicon.objectives.guarded import rewards_of
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import NO_TARGET, PackedSequence, Sequencer


@torch.no_grad()
def roll_out(bundle: Bundle, corpora: list[Corpus], batch: Batch, seed: int) -> Rollouts:
    """Makes `samples` pieces under the conditions of each example of a batch, once each, `batch.sequences` at most.

    Args:
        bundle: the model as it stands, whose objective is one of rewards.
        corpora: of its layouts, which the batch is of.
        batch: of which the examples' conditions are taken.
        seed: of what is drawn.

    Raises:
        PluginError: for rewards that are no finite number for each piece.
    """
    network, objective, layout = bundle.network, bundle.objective, bundle.schema.layouts[batch.layout]
    assert isinstance(network, Referred)
    assert isinstance(objective, Rewarded)
    corpus, made, rewards = corpora[batch.layout], layout.target.name, []
    examples = list(dict.fromkeys(batch.examples.tolist()))[: batch.sequences]
    conditions = [_conditions(corpus, layout, example) for example in examples]
    given = [each for each in conditions for _ in range(objective.samples)]
    numbers = [example * objective.samples + i for example in examples for i in range(objective.samples)]
    was_training, device = network.training, batch.ids.device
    network.eval()
    with torch.autocast(device.type, enabled=False):
        capacity = bundle.sequencer.target_capacity(layout) + 1  # the last token is not fed
        limit = min(objective.sample_tokens or capacity, capacity)
        sampling = Sampling(seed=seed, max_tokens=limit)
        ids = decode(bundle.gpt, bundle.sequencer, layout, list(map(Prompt, given)), sampling, numbers)
        for i, known in enumerate(conditions):
            group = ids[i * objective.samples : (i + 1) * objective.samples]
            rewards.append(rewards_of(objective, network, Candidates(bundle, layout, known, group)))
        packed = [_packed(bundle, layout, {**known, made: piece}, limit) for known, piece in zip(given, ids)]
        pieces = gather(batch.layout, [((number, each),) for number, each in zip(numbers, packed)])
        pieces = pieces._replace(allowed=_allowed_mask(bundle.sequencer, layout, pieces.targets, limit)).to(device)
        old, reference = network.log_probabilities(pieces), network.reference_log_probabilities(pieces)
    network.train(was_training)
    return Rollouts(pieces, old, reference, torch.cat(rewards).to(device))


def _conditions(corpus: Corpus, layout: Layout, example: int) -> dict[str, np.ndarray]:
    return {slot: ids for slot, ids in corpus.example(example).items() if slot != layout.target.name}


def _packed(bundle: Bundle, layout: Layout, example: Mapping[str, np.ndarray], limit: int) -> PackedSequence:
    """The sequence of a piece; where it was cut, its end is nothing that the model has drawn."""
    packed, name = bundle.sequencer.pack(layout, example, plan=False), layout.target.name
    if len(example[name]) == limit and packed.targets[-1] == bundle.schema.vocabulary.eos(name):
        packed.targets[-1] = NO_TARGET
    return packed


def _allowed_mask(sequencer: Sequencer, layout: Layout, targets_PT: Tensor, limit: int) -> Tensor | None:
    """What `Batch.allowed` is: the grammar's answers as the engine had them; None without a grammar."""
    automaton = sequencer.automaton(layout)
    if automaton is None:
        return None
    span = sequencer.target_spans(layout, targets_PT.shape[1])[-1]
    eos = len(sequencer.schema.blocks[layout.target.name])
    local_PN = targets_PT[:, span.positions] - span.vocab_slice.start
    state, found = automaton.constrain(automaton.start(len(local_PN)), tokens=limit), []
    for ids_P in local_PN.where(local_PN >= 0, eos).unbind(1):
        found.append(automaton.allowed(state)[:, : span.vocab_slice.stop - span.vocab_slice.start])
        state = automaton.step(state, ids_P)
    return torch.stack(found, 1)
