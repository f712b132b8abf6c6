"""Weights of one model carried into another whose vocabulary has grown: rows are copied by name."""

from __future__ import annotations

import torch

from helicon.bundle.bundle import Bundle
from helicon.gpt.model import GPT
from helicon.sequence.layout import Schema
from helicon.training.errors import TrainingError


@torch.no_grad()
def init_weights_from(gpt: GPT, schema: Schema, source: Bundle) -> None:
    """Copies into `gpt` what `source` knows: all layers, and the rows of tokens and places that both name.

    A new row starts as the mean of its block's rows, so that a new label begins as an average of those known.
    TrainingError when the shapes of the layers differ.
    """
    theirs, mine = source.gpt.state_dict(), gpt.state_dict()
    tables = [name for name in ("tokens.weight", "head.weight", "places.weight") if name in mine and name in theirs]
    for name, tensor in mine.items():
        if name in tables:
            continue
        if name not in theirs or theirs[name].shape != tensor.shape:
            found = list(theirs[name].shape) if name in theirs else "nothing"
            here = list(tensor.shape)
            raise TrainingError(f"cannot start from that bundle: it has {found} for {name}, this model {here}")
        tensor.copy_(theirs[name])
    here, there = zip(*schema.vocabulary.rows_from(source.schema.vocabulary))
    for name in tables:
        if name == "places.weight":
            for axis, start in schema.axis_starts.items():
                if axis in source.schema.axes:
                    size, old = min(schema.axes[axis], source.schema.axes[axis]), source.schema.axis_starts[axis]
                    mine[name][start : start + size] = theirs[name][old : old + size]
            continue
        for block in schema.vocabulary.blocks:
            known = [block.name == b.name for b in source.schema.vocabulary.blocks]
            if any(known):
                mine[name][schema.vocabulary.slice(block.name)] = theirs[name][
                    source.schema.vocabulary.slice(block.name)
                ].mean(0)
        mine[name][list(here)] = theirs[name][list(there)]
