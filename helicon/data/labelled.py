"""Labels for classifiers: examples that have one, the sorted list, and the label number of each example."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from helicon.data.corpus import Corpus
from helicon.data.entries import DataError, FolderScan
from helicon.formats.printable import MAX_QUOTED, printable
from helicon.modalities import registry
from helicon.objectives.base import MAX_LABELS, NO_LABEL
from helicon.sequence.layout import Layout

# End of error messages
ACCEPTED = "a folder for each label, or a manifest with a column label, is accepted"


def with_labels(scan: FolderScan, labels: Sequence[str], path: str) -> FolderScan:
    """Keep the entries that have one of the labels.

    Args:
        scan: of a folder.
        labels: accepted labels; empty for any.
        path: name of the folder, for the message.

    Returns:
        A new `FolderScan`, in which the other entries are skipped, with the reason.

    Raises:
        DataError: no entry is left.
    """
    result = replace(scan, entries=[], skipped=dict(scan.skipped), passed=scan.passed.copy())
    for entry in scan.entries:
        if entry.label is not None and (not labels or entry.label in labels):
            result.entries.append(entry)
            continue
        other = (
            "no label" if entry.label is None else f"label {printable(entry.label, MAX_QUOTED)}, which the run has not"
        )
        result.skip(next(iter(entry.files.values())), other)
    if not result.entries:
        accepted = f"the run has {printable(', '.join(labels), MAX_QUOTED)}" if labels else ACCEPTED
        raise DataError(f"{path}: no labels{' that the run has' if labels else ''}; {accepted}")
    return result


def without_style(layouts: Sequence[Layout], labels: Iterable[Iterable[str | None]]) -> str | None:
    """Describe the first layout whose label condition would always be empty.

    Args:
        layouts: `Layout`s of the model.
        labels: for each layout the label of each of its files, None without one.

    Returns:
        Message of one line that names slot and layout; None where every such condition has some label.
    """
    for layout, labels_of_layout in zip(layouts, labels):
        of_labels = [s for s in layout.all_slots if not registry.for_slot(s, layout.all_slots).in_files]
        if of_labels and not any(labels_of_layout):
            return f"no file has a label for the {of_labels[0]} of `{layout}`; {ACCEPTED}"
    return None


def labels_of(corpora: Sequence[Corpus], path: str) -> tuple[str, ...]:
    """Collect the labels of corpora.

    Args:
        corpora: each `Corpus` of all layouts.
        path: name of the folder, for the message.

    Returns:
        Tuple of the different labels, sorted.

    Raises:
        DataError: fewer than two or too many labels, a label with one file only, or one that is in the validation part
            only.
    """
    files = {
        (label, number if len(corpus.files) == 0 else int(corpus.files[number]))
        for corpus in corpora
        for number, label in enumerate(corpus.labels)
    }
    counts = Counter(label for label, _ in files if label is not None)
    if len(counts) < 2:
        fault = f"one label alone, {printable(next(iter(counts)), MAX_QUOTED)}" if counts else "no labels"
        raise DataError(f"{path}: {fault}; {ACCEPTED}")
    if len(counts) > MAX_LABELS:
        raise DataError(f"{path}: {len(counts):,} labels; {MAX_LABELS:,} are accepted")
    for label, count in sorted(counts.items()):
        if count < 2:
            raise DataError(f"{path}: label {printable(label, MAX_QUOTED)} has one file; two or more are accepted")
    trained = {corpus.labels[i] for corpus in corpora for i in corpus.select(val=False)}
    for label in sorted(counts):
        if label not in trained:
            reason = f"all files of label {printable(label, MAX_QUOTED)} are for validation"
            raise DataError(f"{path}: {reason}; a smaller --data.val_split leaves some")
    return tuple(sorted(counts))


def label_numbers(corpus: Corpus, labels: Sequence[str]) -> np.ndarray:
    """Number the labels of examples.

    Args:
        corpus: `Corpus`, the examples.
        labels: list that the numbers index.

    Returns:
        NumPy int64 [examples], index of each example's label in `labels`; NO_LABEL where an example has none of the
        labels.
    """
    numbers = {label: i for i, label in enumerate(labels)}
    return np.array([NO_LABEL if label is None else numbers.get(label, NO_LABEL) for label in corpus.labels], np.int64)
