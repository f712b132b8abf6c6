"""Rollouts of reinforcement learning: pieces sampled under the conditions of the data, and their rewards.

Imports no Lightning. Samples are a function of weights, examples and seed, whatever the number of ranks.
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
    """Sample `objective.samples` pieces under the conditions of each example of a batch, and rate them.

    Args:
        bundle: `Bundle`, current model, whose objective is `Rewarded` and whose network is `Referred`.
        corpora: each `Corpus` of the bundle's layouts, in their order.
        batch: whose examples give the conditions; an example counts once, and at most `batch.sequences` are taken.
        seed: of the sampler.

    Returns:
        `Rollouts` of P pieces of T tokens: `pieces`, a `Batch`, samples of an example side by side; `old` and
        `reference`, log probability of each target under the model and the reference, float32 [P, T]; `rewards`,
        float32 [P].

    Raises:
        PluginError: rewards are not one finite number for each piece.
    """
    network, objective, layout = bundle.network, bundle.objective, bundle.schema.layouts[batch.layout]
    assert isinstance(network, Referred)
    assert isinstance(objective, Rewarded)
    corpus, target, rewards = corpora[batch.layout], layout.target.name, []
    examples = list(dict.fromkeys(batch.examples.tolist()))[: batch.sequences]
    conditions = [_conditions(corpus, layout, example) for example in examples]
    repeated = [slots for slots in conditions for _ in range(objective.samples)]
    numbers = [example * objective.samples + i for example in examples for i in range(objective.samples)]
    was_training, device = network.training, batch.ids.device
    network.eval()
    with torch.autocast(device.type, enabled=False):
        capacity = bundle.sequencer.target_capacity(layout) + 1  # the last token is sampled, but never fed
        limit = min(objective.sample_tokens or capacity, capacity)
        sampling = Sampling(seed=seed, max_tokens=limit)
        ids = decode(bundle.gpt, bundle.sequencer, layout, list(map(Prompt, repeated)), sampling, numbers)
        for i, slots in enumerate(conditions):
            group = ids[i * objective.samples : (i + 1) * objective.samples]
            rewards.append(rewards_of(objective, network, Candidates(bundle, layout, slots, group)))
        packed = [_packed(bundle, layout, {**slots, target: piece}, limit) for slots, piece in zip(repeated, ids)]
        pieces = gather(batch.layout, [((number, sequence),) for number, sequence in zip(numbers, packed)])
        pieces = pieces._replace(allowed=_allowed_mask(bundle.sequencer, layout, pieces.targets, limit)).to(device)
        old, reference = network.log_probabilities(pieces), network.reference_log_probabilities(pieces)
    network.train(was_training)
    return Rollouts(pieces, old, reference, torch.cat(rewards).to(device))


def _conditions(corpus: Corpus, layout: Layout, example: int) -> dict[str, np.ndarray]:
    return {slot: ids for slot, ids in corpus.example(example).items() if slot != layout.target.name}


def _packed(bundle: Bundle, layout: Layout, example: Mapping[str, np.ndarray], limit: int) -> PackedSequence:
    """Pack a piece; one that was cut at `limit` tokens gets no eos target, as the model has not sampled it."""
    packed, name = bundle.sequencer.pack(layout, example, plan=False), layout.target.name
    if len(example[name]) == limit and packed.targets[-1] == bundle.schema.vocabulary.eos(name):
        packed.targets[-1] = NO_TARGET
    return packed


def _allowed_mask(sequencer: Sequencer, layout: Layout, targets_PT: Tensor, limit: int) -> Tensor | None:
    """Return the mask `Batch.allowed` of the grammar at each target, as in sampling; None without a grammar."""
    automaton = sequencer.automaton(layout)
    if automaton is None:
        return None
    span = sequencer.target_spans(layout, targets_PT.shape[1])[-1]
    eos = len(sequencer.schema.blocks[layout.target.name])
    local_PN = targets_PT[:, span.positions] - span.vocab_slice.start
    state, masks = automaton.constrain(automaton.start(len(local_PN)), tokens=limit), []
    for ids_P in local_PN.where(local_PN >= 0, eos).unbind(1):
        masks.append(automaton.allowed(state)[:, : span.vocab_slice.stop - span.vocab_slice.start])
        state = automaton.step(state, ids_P)
    return torch.stack(masks, 1)
