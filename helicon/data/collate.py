"""Sequences of one layout to a batch, padded.

Shapes: P pieces, T tokens of the longest of them, A coordinate axes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from helicon.objectives.base import NO_LABEL, Batch
from helicon.tokenizers.sequencer import NO_TARGET, PackedSequence

Windows = tuple[
    tuple[int, PackedSequence], ...
]  # (example, window): one, or of a pair the chosen one and the rejected one


def gather(
    index: int, items: Sequence[Windows], labels: np.ndarray | None = None, sequences: int | None = None
) -> Batch:  # fmt: skip
    """A batch of some windows, or of pairs of them: first all that are chosen."""
    examples, packed = zip(*(window for side in zip(*items) for window in side))
    return collate(index, packed, examples, labels, sequences)


def collate(
    index: int, packed: Sequence[PackedSequence], examples: Sequence[int] | None = None,
    labels: np.ndarray | None = None, sequences: int | None = None,
) -> Batch:  # fmt: skip
    """Pads sequences of one layout to the longest; a pad repeats row 0 and is never a target.

    Args:
        index: of the layout.
        packed: the sequences.
        examples: number of each one's example in its corpus; those of the sequences unless given.
        labels: number of the label of each example of the corpus.
        sequences: of the full context that they stand for; as many as there are unless given.
    """
    lengths = np.array([len(p.ids) for p in packed], np.int64)
    real = np.arange(lengths.max()) < lengths[:, None]
    ids, targets = np.zeros(real.shape, np.int64), np.full(real.shape, NO_TARGET, np.int64)
    rows = np.zeros((*real.shape, packed[0].coord_ids.shape[1]), np.int64)
    ids[real] = np.concatenate([p.ids for p in packed])
    rows[real] = np.concatenate([p.coord_ids for p in packed])
    targets[real] = np.concatenate([p.targets for p in packed])
    numbers = np.arange(len(packed)) if examples is None else np.asarray(examples, np.int64)
    known = np.full(len(packed), NO_LABEL) if labels is None else labels[numbers]
    tensors = map(torch.from_numpy, (ids, rows, targets, lengths, known, numbers))
    return Batch(index, *tensors, sequences=len(packed) if sequences is None else sequences)
