"""Losses of a model on files: nats a token of the target slot, and a note, second or character."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import log
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from helicon.bundle.bundle import Bundle
from helicon.data.batches import scored_windows
from helicon.data.collate import collate, gather
from helicon.data.corpus import Corpus
from helicon.data.files import DataError, scan
from helicon.data.pairs import pair_windows
from helicon.data.prepare import prepare
from helicon.data.prepared import Prepared
from helicon.data.source import DataSource, modalities_of
from helicon.formats.progress import bar
from helicon.gpt.model import GPT
from helicon.gpt.numbers import check_finite
from helicon.modalities import registry
from helicon.objectives.base import Batch, Examples
from helicon.objectives.next_token import slot_nats
from helicon.sequence.layout import Layout
from helicon.sources.local import local_path
from helicon.sources.places import Place
from helicon.tokenizers.sequencer import Sequencer

POOL_BATCHES = 32  # windows are sorted by length among as many batches, to waste little on padding


@dataclass(frozen=True, kw_only=True)
class LayoutLoss:
    """Loss of the target slot of one layout, given its conditions.

    Attributes:
        layout: spec of the layout, such as `style[3] music`.
        slot: name of the target slot.
        pieces: examples scored.
        targets: tokens predicted, each once, `eos` of each piece included.
        nats: sum of -log p over the targets.
        units: other unit -> its amount in the media, such as {"note": 812, "second": 90.5}.
    """

    layout: str
    slot: str
    pieces: int
    targets: int
    nats: float
    units: dict[str, float]

    @property
    def nats_per_token(self) -> float:
        """Mean of -log p over the targets, in nats a token."""
        return self.nats / max(1, self.targets)

    def as_json(self) -> dict[str, Any]:
        """Return the figures of `helicon eval`: amounts, and the loss by each unit (`token` and those of `units`).

        Returns:
            dict: `slot`, `pieces`, `tokens` (the targets), `nats`, `units`, and for each unit of a positive amount the
            losses `nats_per_UNIT` and `bits_per_UNIT`, such as `nats_per_note`.
        """
        figures: dict[str, Any] = {"slot": self.slot, "pieces": self.pieces, "tokens": self.targets, "nats": self.nats}
        figures["units"] = dict(self.units)
        for unit, amount in {"token": self.targets, **self.units}.items():
            if amount:
                figures[f"nats_per_{unit}"] = self.nats / amount
                figures[f"bits_per_{unit}"] = self.nats / amount / log(2)
        return figures


def open_folder(
    bundle: Bundle, path: Place, manifest: Path | None = None, val_split: float | None = None,
    labels: tuple[str, ...] | None = None, source_options: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Prepared, list[Layout]]:  # fmt: skip
    """Prepare a folder with the bundle's own tokenizers, for those of its layouts that the folder has files for.

    Styles unknown to the model are left open. For a classifier only the medium that it generates is read. A model
    trained on pairs is measured on pairs if a manifest lists them, else on sequences.

    Args:
        bundle: `Bundle` of the model.
        path: folder of files, searched recursively, or place that is elsewhere.
        manifest: CSV, JSONL or COCO JSON file that lists the files, instead of searching.
        val_split: share in [0, 1] of the validation part; None for the files that the model was not trained on.
        labels: names of the labels whose files alone are read, as in training; None for all.
        source_options: how the files of the folder are written, name -> value, such as their `encoding`.

    Returns:
        The `Prepared` files, and the `Layout` of each of its corpora, in order.

    Raises:
        DataError: files for none of the layouts, an option that files of the model's media do not have, or an invalid
            value of one.
    """
    try:
        known = registry.source_values([layout.all_slots for layout in bundle.schema.layouts], source_options)
    except ValueError as error:
        raise DataError(str(error)) from None
    for name in source_options.keys() - known.keys():
        raise DataError(f"--data.{name}: files of this model's media are not read with it")
    examples: Examples = bundle.objective.examples
    examples = "sequences" if examples == "pairs" and manifest is None else examples
    layouts, fault = [], None
    for layout in bundle.schema.layouts:
        try:
            scan(local_path(path), modalities_of(layout, examples), manifest, source_options)
            layouts.append(layout)
        except DataError as error:
            fault = fault or error
    if fault and not layouts:
        raise fault
    specs = tuple(map(str, layouts))
    slots = {slot for layout in layouts for slot in layout.all_slots}
    choices = {slot: name for slot, name in bundle.tokenizer_names.items() if slot in slots}
    source = DataSource(
        path=path,
        layouts=specs,
        tokenizers=choices,
        options={**bundle.reading, **source_options},
        manifest=manifest,
        val_split=val_split,
        record=bundle.record,
        grow=False,
        examples=examples,
        labels=labels,
    )
    return prepare(source, bundle.sequencer.tokenizers), layouts


def measure_losses(
    bundle: Bundle, prepared: Prepared, layouts: Sequence[Layout], val: bool = False, batch: int = 16
) -> list[LayoutLoss]:  # fmt: skip
    """Measure the loss of each layout.

    Args:
        bundle: `Bundle` of the model.
        prepared: `Prepared` files, as `open_folder` returns them.
        layouts: `Layout` of each corpus, in order.
        val: measure only the validation part; False for all examples.
        batch: sequences in a batch.

    Returns:
        A `LayoutLoss` for each layout, in order.
    """
    losses = []
    for corpus, layout in zip(prepared.corpora, layouts):
        examples = measured_examples(corpus, val)
        name, units = layout.target.name, {}
        for example in examples:
            for unit, amount in bundle.sequencer.tokenizers[name].units(corpus.example(example)[name]).items():
                units[unit] = units.get(unit, 0.0) + amount
        blind = bundle.objective.blind
        nats, targets = corpus_nats(bundle.gpt, bundle.sequencer, corpus, layout, examples, batch, blind)
        losses.append(
            LayoutLoss(layout=str(layout), slot=name, pieces=len(examples), targets=targets, nats=nats, units=units)
        )
    return losses


def measured_examples(corpus: Corpus, val: bool) -> list[int]:
    """List the examples to measure.

    Args:
        corpus: `Corpus` of examples.
        val: list only the validation part; False for all examples.

    Returns:
        Indices of examples in the corpus.
    """
    return [int(i) for i in (corpus.select(val=True) if val else range(len(corpus)))]


@torch.inference_mode()
def corpus_nats(
    gpt: GPT, sequencer: Sequencer, corpus: Corpus, layout: Layout, examples: Sequence[int], batch: int = 16,
    blind: bool = False,
) -> tuple[float, int]:  # fmt: skip
    """Sum -log p of the target slot over examples, without dropout and without coordinates that look ahead.

    Args:
        gpt: `GPT`, put into eval mode.
        sequencer: `Sequencer` with the model's layouts and tokenizers.
        corpus: `Corpus` of examples of the layout.
        layout: `Layout` of the corpus.
        examples: indices of the examples to measure.
        batch: sequences in a batch.
        blind: True to leave out the conditions.

    Returns:
        Sum of -log p in nats, and the number of target tokens.

    Raises:
        NotFiniteError: NaN or infinity.
    """
    gpt.eval()
    nats, targets = 0.0, 0
    for packed in window_batches(gpt, sequencer, corpus, layout, examples, batch, blind):
        total, count = slot_nats(gpt, sequencer, packed, {layout.target.name})[layout.target.name]
        check_finite(total)
        nats, targets = nats + float(total), targets + count
    return nats, targets


def window_batches(
    gpt: GPT, sequencer: Sequencer, corpus: Corpus, layout: Layout, examples: Sequence[int], batch: int,
    blind: bool = False, labels: np.ndarray | None = None,
) -> Iterator[Batch]:  # fmt: skip
    """Batch the windows of examples by like length, on the model's device, with a progress bar.

    Args:
        gpt: `GPT`.
        sequencer: `Sequencer` with the model's layouts and tokenizers.
        corpus: `Corpus` of examples of the layout.
        layout: `Layout` of the corpus.
        examples: indices of the examples to batch.
        batch: sequences in a batch.
        blind: True to leave out the conditions.
        labels: int64, number of the label of each example of the corpus, as of `label_numbers`; None for no labels.

    Yields:
        `Batch`es of up to `batch` windows, in which every token of the examples is a target once.
    """
    index, device = sequencer.schema.layouts.index(layout), gpt.head_weight.device
    progress = bar(examples, of="measuring", unit="pieces")
    windows = (
        (example, window)
        for example in progress
        for window in scored_windows(corpus, sequencer, layout, example, blind)
    )
    while pool := sorted(islice(windows, POOL_BATCHES * batch), key=lambda pair: len(pair[1].ids)):
        for i in range(0, len(pool), batch):
            numbers, packed = zip(*pool[i : i + batch])
            yield collate(index, packed, numbers, labels).to(device)


def pair_batches(
    gpt: GPT, sequencer: Sequencer, corpus: Corpus, layout: Layout, val: bool, batch: int
) -> Iterator[Batch]:  # fmt: skip
    """Batch pairs of preferred and rejected sequences, on the model's device, with a progress bar.

    Args:
        gpt: `GPT`.
        sequencer: `Sequencer` with the model's layouts and tokenizers.
        corpus: `Corpus` of examples with pairs.
        layout: `Layout` of the corpus.
        val: batch only the validation part; False for all pairs.
        batch: pairs in a batch.

    Yields:
        `Batch`es of up to `batch` pairs: first the preferred sequences of all of them, then the rejected ones.
    """
    index, device = sequencer.schema.layouts.index(layout), gpt.head_weight.device
    pairs = corpus.select_pairs(val=True) if val else corpus.pairs
    progress = iter(bar(pairs, of="measuring", unit="pairs"))
    while group := list(islice(progress, batch)):
        yield gather(index, [pair_windows(corpus, sequencer, layout, pair) for pair in group]).to(device)


def codebook_figures(counts_K: Tensor) -> tuple[float, float]:
    """Compute how much of a codebook is used.

    Args:
        counts_K: number of times that each of the K codes occurs, [K].

    Returns:
        Two floats: usage, the share in [0, 1] of codes that occur, and perplexity, the exp of the entropy, 1 .. K.
    """
    shares = counts_K.double() / counts_K.sum().clamp(min=1)
    entropy = -(shares * shares.clamp(min=1e-300).log()).sum()
    return float((counts_K > 0).double().mean()), float(entropy.exp())
