"""Features of a layer: the mean hidden state of each example, for a linear probe (iGPT, section 2.2).

Shapes: N examples, B sequences, T tokens, C width.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from helicon.bundle.bundle import Bundle
from helicon.data.batches import collate, scored_windows
from helicon.data.corpus import Corpus
from helicon.formats.files import atomic_write
from helicon.gpt.numbers import check_finite
from helicon.sequence.layout import Layout


@torch.inference_mode()
def layer_features(
    bundle: Bundle, corpus: Corpus, layout: Layout, layers: Collection[int], batch: int = 16
) -> dict[int, np.ndarray]:  # fmt: skip
    """Layer -> float32 [N, C]: the mean of the hidden states before its attention, after its norm.

    Over the positions that predict the made slot's tokens, which are iGPT's: from the one before the slot to the last
    that is fed. Layer 0 has the embeddings; the number of layers stands for what comes after all of them. An example
    longer than the context is seen in windows, each token once. ValueError for layers that the model does not have, and
    for numbers that are not finite.
    """
    gpt, sequencer = bundle.gpt.eval(), bundle.sequencer
    check_layers(layers, gpt.config.layers)
    index, device = sequencer.schema.layouts.index(layout), gpt.head_weight.device
    sums = {layer: np.zeros((len(corpus), gpt.config.width)) for layer in sorted(set(layers))}
    counts = np.zeros((len(corpus), 1))
    # Those of like length together, to waste little on padding
    order = np.argsort(corpus.lengths(layout.last.name), kind="stable").tolist()
    bar = tqdm(order, desc="features", unit=" pieces", leave=False, disable=None)
    windows = ((example, window) for example in bar for window in scored_windows(corpus, sequencer, layout, example))
    while group := list(islice(windows, batch)):
        examples = [example for example, _ in group]
        packed = collate(index, [window for _, window in group])
        ids_BT, rows_BTA, targets_BT = (tensor.to(device) for tensor in packed[1:4])
        counted_B1T = (targets_BT >= 0).float()[:, None]
        counted_B1T[:, :, : layout.prefix - 1] = 0
        np.add.at(counts, examples, counted_B1T.sum(2).cpu().numpy())
        for layer, hidden_BTC in gpt.features(ids_BT, rows_BTA, layout.frame, sums):
            total_BC = (counted_B1T @ hidden_BTC.float()).squeeze(1)
            check_finite(total_BC)
            np.add.at(sums[layer], examples, total_BC.cpu().numpy())
    return {layer: (total / counts).astype(np.float32) for layer, total in sums.items()}


def check_layers(layers: Collection[int], last: int) -> None:
    """ValueError unless all are from 0 to `last`, and there is one."""
    wrong = [layer for layer in layers if not 0 <= layer <= last]
    if wrong or not layers:
        asked = wrong[0] if wrong else "none"
        raise ValueError(f"layer {asked}: this model has 0 (the embeddings) to {last} (the end)")


def write_features(path: Path, found: Mapping[int, np.ndarray], corpus: Corpus) -> None:
    """An .npz without pickles: `names` and `labels` (empty where there is none) of N examples, `layer`, and `features`.

    Of several layers `layer` has all numbers, and the features are `features_0`, `features_1` and so on.
    """
    arrays: dict[str, Any] = {f"features_{layer}": each for layer, each in found.items()}
    arrays["layer"] = np.array(list(found))
    if len(found) == 1:
        (layer,) = found
        arrays = {"features": found[layer], "layer": np.array(layer)}
    arrays["names"] = np.array(corpus.names, np.str_)
    arrays["labels"] = np.array([label or "" for label in corpus.labels], np.str_)
    with atomic_write(path) as temporary, temporary.open("wb") as file:  # a file, for NumPy changes other suffixes
        np.savez(file, **arrays)
