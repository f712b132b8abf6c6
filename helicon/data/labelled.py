"""Labels of the pieces of a folder, which a classifier learns: their list, and each piece's place in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from helicon.data.corpus import Corpus
from helicon.data.entries import DataError
from helicon.formats.printable import MOST, printable
from helicon.objectives.base import MOST_LABELS, NO_LABEL


def labels_of(corpora: Sequence[Corpus], path: str) -> tuple[str, ...]:
    """All labels, in order of name, each of which has two pieces at least: one to learn from, one to be held out.

    DataError where there are none, or one alone, and for a label of a single piece.
    """
    counts = Counter(label for corpus in corpora for label in corpus.labels if label is not None)
    where = "a folder for each label, or a manifest with a column label, is accepted"
    if len(counts) < 2:
        found = f"one label alone, {printable(next(iter(counts)), MOST)}" if counts else "no labels"
        raise DataError(f"{path}: {found}; {where}")
    if len(counts) > MOST_LABELS:
        raise DataError(f"{path}: {len(counts):,} labels; {MOST_LABELS:,} are accepted")
    for label, count in sorted(counts.items()):
        if count < 2:
            raise DataError(f"{path}: label {printable(label, MOST)} has one piece; two or more are accepted")
    trained = {corpus.labels[i] for corpus in corpora for i in corpus.select(held=False)}
    for label in sorted(counts):
        if label not in trained:
            held = f"all pieces of label {printable(label, MOST)} are held out"
            raise DataError(f"{path}: {held}; a smaller --data.held_out leaves some")
    return tuple(sorted(counts))


def label_numbers(corpus: Corpus, labels: Sequence[str]) -> np.ndarray:
    """Place of each example's label in the list, int64 [examples]; NO_LABEL where it has none of them."""
    places = {label: i for i, label in enumerate(labels)}
    return np.array([NO_LABEL if label is None else places.get(label, NO_LABEL) for label in corpus.labels], np.int64)
