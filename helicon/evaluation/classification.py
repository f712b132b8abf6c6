"""Labels of files, predicted by a model that was trained to classify."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from helicon.bundle.bundle import Bundle
from helicon.cli.errors import CommandError, reason
from helicon.data.corpus import Corpus
from helicon.evaluation.losses import window_batches
from helicon.formats.files import json_text, write_text
from helicon.formats.notebook import html_table, plain
from helicon.formats.printable import printable
from helicon.formats.progress import log
from helicon.formats.read_report import repaired
from helicon.modalities import registry
from helicon.modalities.base import remedy
from helicon.objectives.classify import Classify, log_probabilities
from helicon.sequence.layout import Layout


class ClassificationError(CommandError, ValueError):
    """Model without labels, or a file that it cannot classify; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class Classification:
    """Predicted labels of a file.

    Attributes:
        file: path of the file.
        probabilities: label -> probability in [0, 1], the likeliest label first.
    """

    file: Path
    probabilities: dict[str, float]

    @property
    def label(self) -> str:
        """Name of the likeliest label."""
        return next(iter(self.probabilities))

    @property
    def suffix(self) -> str:
        """Suffix `.json`, of the file that `save` writes."""
        return ".json"

    def as_json(self) -> dict[str, Any]:
        """Return `file` (its path) and `labels` (label -> probability), as `helicon classify --json` prints them."""
        return {"file": str(self.file), "labels": self.probabilities}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `as_json()` to the file `path`, the likeliest label first."""
        write_text(path, json_text(self.as_json()) + "\n")

    def _repr_html_(self) -> str:
        """Show the file, and its labels with their probabilities."""
        return html_table((self.file.name, ""), [(name, plain(p)) for name, p in self.probabilities.items()])


def classify_files(
    bundle: Bundle, files: Sequence[Path], batch: int = 16, top: int | None = None
) -> list[Classification]:  # fmt: skip
    """Classify files; conditions are left out, as in training.

    Args:
        bundle: `Bundle` of a model trained by `helicon train classify`.
        files: paths of files of the medium that it was trained on.
        batch: sequences in a batch.
        top: number of likeliest labels to keep; None for all.

    Returns:
        A `Classification` of each file, in order of `files`; for a file with several documents the log-probabilities
        are averaged and renormalised.

    Raises:
        ClassificationError: another model, an unreadable or empty file, or top or batch below 1.
    """
    if top is not None and top < 1:
        raise ClassificationError(f"--top {top}: 1 or more is accepted")
    if batch < 1:
        raise ClassificationError(f"--batch {batch}: 1 or more is accepted")
    if not isinstance(bundle.objective, Classify):
        raise ClassificationError("this model has no labels; `helicon train classify DIR --from RUN` gives it some")
    results = []
    for file in files:
        corpus, layout = _corpus(bundle, file)
        examples = range(len(corpus))
        batches = window_batches(bundle.gpt, bundle.sequencer, corpus, layout, examples, batch, blind=True)
        logp_NK = np.stack([logp_K.numpy() for logp_K in log_probabilities(bundle.network, batches).values()])
        mean_K = logp_NK.mean(0)  # over a file's documents
        shares_K = np.exp(mean_K - mean_K.max())
        shares_K /= shares_K.sum()
        ranked = np.argsort(-shares_K, kind="stable")[:top]
        results.append(Classification(file=file, probabilities={bundle.labels[i]: float(shares_K[i]) for i in ranked}))
    return results


def _corpus(bundle: Bundle, file: Path) -> tuple[Corpus, Layout]:
    """Encode a file's documents as examples of the layout that generates its medium."""
    for layout in bundle.schema.layouts:
        slot, modality = layout.target, registry.for_slot(layout.target.name, layout.all_slots)
        if modality.accepted_suffix(file.name):
            break
    else:
        modalities = [registry.for_slot(y.target.name, y.all_slots) for y in bundle.schema.layouts]
        accepted = " ".join(sorted({suffix for modality in modalities for suffix in modality.suffixes}))
        hint = remedy(file.name, modalities)
        raise ClassificationError(f"{printable(file)}: {accepted} files are accepted{f'; {hint}' if hint else ''}")
    try:
        media, counts = modality.read(file, options=bundle.reading)
    except (OSError, ValueError) as error:
        raise ClassificationError(f"{printable(file)}: {reason(error)}") from error
    if counts:
        log(repaired(counts, printable(file)))
    documents = (modality.documents if slot.length is None else modality.separate)(media)
    pieces = [bundle.encode(slot.name, document)[: slot.length] for document in documents]
    pieces = [piece for piece in pieces if len(piece)]
    if not pieces:
        raise ClassificationError(f"{printable(file)}: nothing in it")
    offsets = np.cumsum([0, *map(len, pieces)])
    return Corpus(
        layout=str(layout), names=[file.name] * len(pieces), labels=[None] * len(pieces),
        val=np.zeros(len(pieces), bool), ids={slot.name: np.concatenate(pieces)}, offsets={slot.name: offsets},
    ), layout  # fmt: skip
