"""Features of a layer: the mean hidden state of each example, for a linear probe (iGPT, section 2.2).

Shapes: N examples, B sequences, T tokens, C width.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from helicon.bundle.bundle import Bundle
from helicon.cli import CommandError
from helicon.data.batches import scored_windows
from helicon.data.collate import collate
from helicon.data.corpus import Corpus
from helicon.evaluation.losses import open_folder
from helicon.formats.files import atomic_write
from helicon.formats.notebook import html_table
from helicon.formats.progress import bar
from helicon.gpt.numbers import check_finite
from helicon.sequence.layout import Layout


class FeaturesError(CommandError, ValueError):
    """Features that a model does not have; the message is one line."""


@torch.inference_mode()
def layer_features(
    bundle: Bundle, corpus: Corpus, layout: Layout, layers: Collection[int], batch: int = 16
) -> dict[int, np.ndarray]:  # fmt: skip
    """Layer -> float32 [N, C]: the mean of the hidden states before its attention, after its norm.

    Over the positions that predict the made slot's tokens, which are iGPT's: from the one before the slot to the last
    that is fed. Layer 0 has the embeddings; the number of layers stands for what comes after all of them. An example
    longer than the context is seen in windows, each token once. Conditions are fed as the model has learned with them,
    so those of a model of labels are left open. ValueError for layers that the model does not have, and
    for numbers that are not finite.
    """
    gpt, sequencer = bundle.gpt.eval(), bundle.sequencer
    check_layers(layers, gpt.config.layers)
    index, device = sequencer.schema.layouts.index(layout), gpt.head_weight.device
    sums = {layer: np.zeros((len(corpus), gpt.config.width)) for layer in sorted(set(layers))}
    counts = np.zeros((len(corpus), 1))
    # Those of like length together, to waste little on padding
    order = np.argsort(corpus.lengths(layout.target.name), kind="stable").tolist()
    told = bar(order, of="features", unit="pieces")
    blind = bundle.objective.blind
    windows = ((each, window) for each in told for window in scored_windows(corpus, sequencer, layout, each, blind))
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
    """FeaturesError unless all are from 0 to `last`, and there is one."""
    wrong = [layer for layer in layers if not 0 <= layer <= last]
    if wrong or not layers:
        asked = wrong[0] if wrong else "none"
        raise FeaturesError(f"--layer {asked}: this model has 0 (the embeddings) to {last} (the end)")


@dataclass(frozen=True, kw_only=True)
class Features:
    """A layer's mean hidden state for each file of a folder.

    Args:
        names: of the N files, relative to the folder.
        labels: of each, empty where it has none.
        layers: layer -> float32 [N, C].
        layout: whose made slot the states are of.
        skipped: file -> why it is left out.
    """

    names: list[str]
    labels: list[str]
    layers: dict[int, np.ndarray]
    layout: Layout
    skipped: dict[str, str]

    def _repr_html_(self) -> str:
        """How many there are of what."""
        labels = len(set(filter(None, self.labels)))
        rows = [(layer, *array.shape) for layer, array in self.layers.items()]
        return f"<p>{labels} labels</p>" + html_table(("layer", "pieces", "numbers each"), rows)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes an .npz without pickles: `names`, `labels`, `layer` and `features`.

        Of several layers `layer` has all numbers, and the features are `features_0`, `features_1` and so on.
        """
        arrays: dict[str, Any] = {f"features_{layer}": each for layer, each in self.layers.items()}
        arrays["layer"] = np.array(list(self.layers))
        if len(self.layers) == 1:
            ((layer, found),) = self.layers.items()
            arrays = {"features": found, "layer": np.array(layer)}
        arrays |= {"names": np.array(self.names, np.str_), "labels": np.array(self.labels, np.str_)}
        with atomic_write(path) as temporary, temporary.open("wb") as file:  # a file: NumPy changes other suffixes
            np.savez(file, **arrays)


def folder_features(
    bundle: Bundle, folder: Path, layers: Collection[int] | None = None, *, to: str | None = None,
    manifest: Path | None = None, batch: int = 16,
) -> Features:  # fmt: skip
    """Features of all files of a folder, with a model's own tokenizers.

    Args:
        bundle: the model.
        folder: of files, searched recursively.
        layers: before the attention of which; all unless given. The number of layers is the end.
        to: of which slot, where the model makes several.
        manifest: list of files, instead of searching.
        batch: sequences at a time.

    Raises:
        FeaturesError: for a slot, a layer or a batch that is none.
        DataError: where there are no files that the model can read.
    """
    last = bundle.gpt.config.layers
    chosen = list(range(last + 1)) if layers is None else sorted(set(layers))
    check_layers(chosen, last)
    if batch < 1:
        raise FeaturesError(f"--batch must be 1 or more, got {batch}")
    made = [layout.target.name for layout in bundle.schema.layouts]
    if to is not None and to not in made:
        raise FeaturesError(f"--to {to}: this model makes {', '.join(dict.fromkeys(made))}")
    prepared, layouts = open_folder(bundle, folder, manifest)
    found = [(c, y) for c, y in zip(prepared.corpora, layouts) if to in (None, y.target.name)]
    if not found:
        raise FeaturesError(f"--to {to}: the files are those of {'; '.join(map(str, layouts))}")
    corpus, layout = found[0]
    return Features(
        names=list(corpus.names), labels=[label or "" for label in corpus.labels], layout=layout,
        layers=layer_features(bundle, corpus, layout, chosen, batch), skipped=prepared.skipped,
    )  # fmt: skip
