"""Losses of a model: nats a token of each slot, and of each note, second or character of a folder of files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from math import log
from pathlib import Path
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
from helicon.data.prepare import DataSource, Prepared, modalities_of, prepare
from helicon.formats.progress import bar
from helicon.gpt.model import GPT
from helicon.gpt.numbers import check_finite
from helicon.objectives.base import Batch, Examples
from helicon.objectives.next_token import slot_nats
from helicon.sequence.layout import Layout
from helicon.tokenizers.sequencer import Sequencer

POOL = 32  # batches among which windows are sorted by length, to waste little on padding


@dataclass(frozen=True, kw_only=True)
class LayoutLoss:
    """Loss of the made slot of one layout, its conditions given.

    pieces: examples scored. targets: tokens predicted, each once, the `eos` of every piece among them. nats: sum of
    -log p over them. units: what else the media hold, such as {"note": 812, "second": 90.5}.
    """

    layout: str
    slot: str
    pieces: int
    targets: int
    nats: float
    units: dict[str, float]

    @property
    def nats_per_token(self) -> float:
        """Mean over the targets."""
        return self.nats / max(1, self.targets)

    def as_json(self) -> dict[str, Any]:
        """Keys such as `nats_per_note` and `bits_per_second`."""
        found: dict[str, Any] = {"slot": self.slot, "pieces": self.pieces, "tokens": self.targets, "nats": self.nats}
        found["units"] = dict(self.units)
        for unit, amount in {"token": self.targets, **self.units}.items():
            if amount:
                found[f"nats_per_{unit}"] = self.nats / amount
                found[f"bits_per_{unit}"] = self.nats / amount / log(2)
        return found


def open_folder(
    bundle: Bundle, path: Path, manifest: Path | None = None, held_out: float = DataSource.held_out,
    labels: tuple[str, ...] | None = None,
) -> tuple[Prepared, list[Layout]]:  # fmt: skip
    """A folder as the bundle's own tokenizers see it, and those of its layouts that the folder has files for.

    Styles that the model does not know are left open. Of a model that learned labels, only the medium that it makes is
    read; one that learned from pairs is measured on pairs where a manifest lists them. labels: those to which the files
    are limited, as in training. DataError when there are files for none of the layouts.
    """
    examples: Examples = bundle.objective.examples
    examples = "sequences" if examples == "pairs" and manifest is None else examples
    layouts, fault = [], None
    for layout in bundle.schema.layouts:
        try:
            scan(path, modalities_of(layout, examples), manifest)
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
        options=bundle.reading,
        manifest=manifest,
        held_out=held_out,
        grow=False,
        examples=examples,
        labels=labels,
    )
    return prepare(source, bundle.sequencer.tokenizers), layouts


def measure_losses(
    bundle: Bundle, prepared: Prepared, layouts: Sequence[Layout], val: bool = False, batch: int = 16
) -> list[LayoutLoss]:  # fmt: skip
    """Loss of each layout over all examples, or over those that a training on them holds out."""
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
    """Numbers of all examples, or of those that a training on them holds out."""
    return [int(i) for i in (corpus.select(val=True) if val else range(len(corpus)))]


@torch.inference_mode()
def corpus_nats(
    gpt: GPT, sequencer: Sequencer, corpus: Corpus, layout: Layout, examples: Sequence[int], batch: int = 16,
    blind: bool = False,
) -> tuple[float, int]:  # fmt: skip
    """(nats, targets) of the made slot of some examples, dropout off, without telling the model where a piece ends.

    blind: whether their conditions are left out.
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
    """The scored windows of some examples in batches of like length, beside the model, with a bar of how far it is.

    blind: whether conditions are left out. labels: number of the label of each example of the corpus.
    """
    index, device = sequencer.schema.layouts.index(layout), gpt.head_weight.device
    told = bar(examples, of="measuring", unit="pieces")
    windows = (
        (example, window) for example in told for window in scored_windows(corpus, sequencer, layout, example, blind)
    )
    while pool := sorted(islice(windows, POOL * batch), key=lambda each: len(each[1].ids)):
        for i in range(0, len(pool), batch):
            numbers, packed = zip(*pool[i : i + batch])
            yield collate(index, packed, numbers, labels).to(device)


def pair_batches(
    gpt: GPT, sequencer: Sequencer, corpus: Corpus, layout: Layout, val: bool, batch: int
) -> Iterator[Batch]:  # fmt: skip
    """All pairs, or those that a training holds out, beside the model, with a bar of how far it is."""
    index, device = sequencer.schema.layouts.index(layout), gpt.head_weight.device
    pairs = corpus.select_pairs(val=True) if val else corpus.pairs
    told = iter(bar(pairs, of="measuring", unit="pairs"))
    while group := list(islice(told, batch)):
        yield gather(index, [pair_windows(corpus, sequencer, layout, pair) for pair in group]).to(device)


def codebook_figures(counts_K: Tensor) -> tuple[float, float]:
    """(share of the codes that occur, perplexity: as many equally frequent ones would carry as much), of counts [K]."""
    shares = counts_K.double() / counts_K.sum().clamp(min=1)
    entropy = -(shares * shares.clamp(min=1e-300).log()).sum()
    return float((counts_K > 0).double().mean()), float(entropy.exp())
