"""Weights of a bundle copied into a model with another vocabulary: embedding rows are matched by token name."""

from __future__ import annotations

import torch

from helicon.bundle.bundle import Bundle
from helicon.gpt.model import GPT
from helicon.sequence.layout import Schema
from helicon.training.errors import TrainingError


@torch.no_grad()
def init_weights_from(gpt: GPT, schema: Schema, source: Bundle) -> None:
    """Initialise a GPT from a bundle: all layers, and the embedding rows of tokens and coordinates that both have.

    A new row starts as the mean of its block's rows, so that a new label begins as an average of the old ones.

    Args:
        gpt: changed in place.
        schema: `Schema`, vocabulary and coordinates of the GPT.
        source: `Bundle` to copy from.

    Raises:
        TrainingError: the shapes of the layers differ.
    """
    theirs, ours = source.gpt.state_dict(), gpt.state_dict()
    tables = [name for name in ("tokens.weight", "head.weight", "places.weight") if name in ours and name in theirs]
    for name, tensor in ours.items():
        if name in tables:
            continue
        if name not in theirs or theirs[name].shape != tensor.shape:
            there = list(theirs[name].shape) if name in theirs else "nothing"
            here = list(tensor.shape)
            raise TrainingError(f"cannot start from that bundle: it has {there} for {name}, this model {here}")
        tensor.copy_(theirs[name])
    rows, source_rows = zip(*schema.vocabulary.rows_from(source.schema.vocabulary))
    for name in tables:
        if name == "places.weight":
            for axis, start in schema.axis_starts.items():
                if axis in source.schema.axes:
                    size, old = min(schema.axes[axis], source.schema.axes[axis]), source.schema.axis_starts[axis]
                    ours[name][start : start + size] = theirs[name][old : old + size]
            continue
        for block in schema.vocabulary.blocks:
            if any(block.name == old.name for old in source.schema.vocabulary.blocks):
                ours[name][schema.vocabulary.slice(block.name)] = theirs[name][
                    source.schema.vocabulary.slice(block.name)
                ].mean(0)
        ours[name][list(rows)] = theirs[name][list(source_rows)]
