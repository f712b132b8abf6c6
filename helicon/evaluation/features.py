"""Features of a layer for a linear probe: mean hidden state of each example (iGPT, section 2.2).

Shapes: N examples, B sequences, T tokens, C width.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from helicon.bundle.bundle import Bundle
from helicon.cli.errors import CommandError
from helicon.data.batches import scored_windows
from helicon.data.collate import collate
from helicon.data.corpus import Corpus
from helicon.evaluation.losses import open_folder
from helicon.formats.files import atomic_write
from helicon.formats.notebook import html_table
from helicon.formats.progress import bar
from helicon.formats.quantities import quantity
from helicon.gpt.numbers import check_finite
from helicon.sequence.layout import Layout
from helicon.sources.places import Place


class FeaturesError(CommandError, ValueError):
    """Features that a model does not have; the message is one line."""


@torch.inference_mode()
def layer_features(
    bundle: Bundle, corpus: Corpus, layout: Layout, layers: Collection[int], batch: int = 16
) -> dict[int, np.ndarray]:  # fmt: skip
    """Compute the mean hidden state of each example, after a layer's first norm and before its attention.

    The mean is over the positions that predict the target slot's tokens, as in iGPT: from the one before the slot to
    the last that is fed. An example longer than the context is fed in windows, each token once. Conditions are fed as
    in training, so those of a classifier are left out.

    Args:
        bundle: `Bundle` of the model.
        corpus: `Corpus` of N examples of the layout.
        layout: `Layout` of the model.
        layers: indices of layers; 0 is the embeddings, the number of layers the output of the final norm.
        batch: sequences in a batch.

    Returns:
        Index of a layer -> NumPy float32 [N, C], C the model's width; rows are in the order of the corpus.

    Raises:
        FeaturesError: a layer that the model does not have.
        NotFiniteError: NaN or infinity.
    """
    gpt, sequencer = bundle.gpt.eval(), bundle.sequencer
    check_layers(layers, gpt.config.layers)
    index, device = sequencer.schema.layouts.index(layout), gpt.head_weight.device
    sums = {layer: np.zeros((len(corpus), gpt.config.width)) for layer in sorted(set(layers))}
    counts = np.zeros((len(corpus), 1))
    # Examples of like length together, to waste little on padding
    order = np.argsort(corpus.lengths(layout.target.name), kind="stable").tolist()
    progress = bar(order, of="features", unit="pieces")
    blind = bundle.objective.blind
    windows = (
        (example, window)
        for example in progress
        for window in scored_windows(corpus, sequencer, layout, example, blind)
    )
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
    """Check indices of layers.

    Args:
        layers: at least one, from 0 to `last`.
        last: number of layers of the model.

    Raises:
        FeaturesError: an index out of range, or none.
    """
    wrong = [layer for layer in layers if not 0 <= layer <= last]
    if wrong or not layers:
        asked = wrong[0] if wrong else "none"
        raise FeaturesError(f"--layer {asked}: this model has 0 (the embeddings) to {last} (the end)")


@dataclass(frozen=True, kw_only=True)
class Features:
    """Features of each file of a folder.

    Attributes:
        names: paths of the N files, relative to the folder.
        labels: label of each file, '' where it has none.
        val: bool [N], True for the files that the model was not trained on.
        layers: index of a layer -> float32 [N, C], C the model's width.
        layout: layout of the files; features are of its target slot.
        skipped: file that was left out -> reason.
        reading: lines of the report on reading, for people.
    """

    names: list[str]
    labels: list[str]
    val: np.ndarray
    layers: dict[int, np.ndarray]
    layout: Layout
    skipped: dict[str, str]
    reading: Sequence[str] = ()

    def _repr_html_(self) -> str:
        """Show the number of labels, and the shape of each layer's features."""
        labels = len(set(filter(None, self.labels)))
        rows = [(layer, *array.shape) for layer, array in self.layers.items()]
        return f"<p>{quantity(labels, 'label')}</p>" + html_table(("layer", "pieces", "numbers each"), rows)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a NumPy .npz file without pickles.

        It has `names`, `labels` and `val` [N], `layer` (an index), `features` float32 [N, C].

        With several layers `layer` lists their indices, and the arrays are `features_0`, `features_1` and so on.
        """
        arrays: dict[str, Any] = {f"features_{layer}": features for layer, features in self.layers.items()}
        arrays["layer"] = np.array(list(self.layers))
        if len(self.layers) == 1:
            ((layer, features),) = self.layers.items()
            arrays = {"features": features, "layer": np.array(layer)}
        arrays |= {"names": np.array(self.names, np.str_), "labels": np.array(self.labels, np.str_), "val": self.val}
        # To an open file, since NumPy would add .npz to a path
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)


def folder_features(
    bundle: Bundle, folder: Place, layers: Collection[int] | None = None, *, to: str | None = None,
    manifest: Path | None = None, batch: int = 16,
) -> Features:  # fmt: skip
    """Compute features of all files of a folder, with the model's own tokenizers.

    Args:
        bundle: `Bundle` of the model.
        folder: folder of files, searched recursively, or place that is elsewhere.
        layers: indices, see `layer_features`; None for all.
        to: name of the target slot, where the model generates several; None for the first with files.
        manifest: CSV, JSONL or COCO JSON file that lists the files, instead of searching.
        batch: sequences in a batch.

    Returns:
        The `Features` of the files that the model can read, an array for each layer.

    Raises:
        FeaturesError: an unknown slot or layer, or a batch below 1.
        DataError: no files that the model can read.
    """
    last = bundle.gpt.config.layers
    chosen = list(range(last + 1)) if layers is None else sorted(set(layers))
    check_layers(chosen, last)
    if batch < 1:
        raise FeaturesError(f"--batch must be 1 or more, got {batch}")
    targets = [layout.target.name for layout in bundle.schema.layouts]
    if to is not None and to not in targets:
        raise FeaturesError(f"--to {to}: this model makes {', '.join(dict.fromkeys(targets))}")
    prepared, layouts = open_folder(bundle, folder, manifest)
    matches = [(c, y) for c, y in zip(prepared.corpora, layouts) if to in (None, y.target.name)]
    if not matches:
        raise FeaturesError(f"--to {to}: the files are those of {'; '.join(map(str, layouts))}")
    corpus, layout = matches[0]
    return Features(
        names=list(corpus.names), labels=[label or "" for label in corpus.labels], layout=layout,
        layers=layer_features(bundle, corpus, layout, chosen, batch), skipped=prepared.skipped, val=corpus.val,
        reading=prepared.reading(),
    )  # fmt: skip
