"""Collate packed sequences of one layout into a padded batch.

Shapes: P sequences, T tokens of the longest of them, A coordinate axes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from helicon.objectives.base import NO_LABEL, Batch
from helicon.tokenizers.sequencer import NO_TARGET, PackedSequence

# An item of a batch: one (example, window), or the chosen and the rejected side of a pair
Windows = tuple[tuple[int, PackedSequence], ...]


def gather(
    index: int, items: Sequence[Windows], labels: np.ndarray | None = None, sequences: int | None = None
) -> Batch:  # fmt: skip
    """Collate single windows, or pairs of windows: all chosen sides come first, then all rejected ones.

    Args:
        index: of the layout in the schema.
        items: `Windows` of the batch: each has one (example number, `PackedSequence`), or in all of them two.
        labels: label number of each example of the corpus, NumPy int64 [examples]; None for NO_LABEL everywhere.
        sequences: number of full-context sequences that the batch stands for; as many as there are windows unless
            given.

    Returns:
        `Batch` of all windows, padded as by `collate`.
    """
    examples, packed = zip(*(window for side in zip(*items) for window in side))
    return collate(index, packed, examples, labels, sequences)


def collate(
    index: int, packed: Sequence[PackedSequence], examples: Sequence[int] | None = None,
    labels: np.ndarray | None = None, sequences: int | None = None,
) -> Batch:  # fmt: skip
    """Pad sequences of one layout to the longest; padding has row 0 and is never a target.

    Args:
        index: of the layout in the schema.
        packed: `PackedSequence`s, the P sequences.
        examples: number of the example of each sequence; 0 .. P - 1 unless given.
        labels: label number of each example of the corpus, NumPy int64 [examples]; None for NO_LABEL everywhere.
        sequences: number of full-context sequences that the batch stands for; P unless given.

    Returns:
        Batch of P sequences of at most T tokens with A coordinate axes: ids and targets int64 [P, T], coordinate rows
        int64 [P, T, A], and lengths, labels and examples int64 [P].
    """
    lengths = np.array([len(p.ids) for p in packed], np.int64)
    real = np.arange(lengths.max()) < lengths[:, None]
    ids, targets = np.zeros(real.shape, np.int64), np.full(real.shape, NO_TARGET, np.int64)
    rows = np.zeros((*real.shape, packed[0].coord_ids.shape[1]), np.int64)
    ids[real] = np.concatenate([p.ids for p in packed])
    rows[real] = np.concatenate([p.coord_ids for p in packed])
    targets[real] = np.concatenate([p.targets for p in packed])
    numbers = np.arange(len(packed)) if examples is None else np.asarray(examples, np.int64)
    label_numbers = np.full(len(packed), NO_LABEL) if labels is None else labels[numbers]
    tensors = map(torch.from_numpy, (ids, rows, targets, lengths, label_numbers, numbers))
    return Batch(index, *tensors, sequences=len(packed) if sequences is None else sequences)
