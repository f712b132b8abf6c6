"""Evaluation of a model on a folder: losses, controllability, and reports of its objective."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from helicon.bundle.bundle import Bundle
from helicon.cli.errors import CommandError
from helicon.data.config import check_val_split
from helicon.data.labelled import label_numbers
from helicon.data.prepared import Prepared
from helicon.evaluation.controllability import measure_controllability
from helicon.evaluation.losses import (
    LayoutLoss,
    measure_losses,
    measured_examples,
    open_folder,
    pair_batches,
    window_batches,
)
from helicon.formats.files import write_json
from helicon.formats.notebook import html_figures, html_lines, html_table, plain
from helicon.objectives.guarded import report_of, table_of
from helicon.sequence.layout import Layout
from helicon.sources.places import Place


class EvaluationError(CommandError, ValueError):
    """Wrong option of an evaluation, or nothing to evaluate; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Figures of an evaluation.

    Attributes:
        losses: `LayoutLoss` of each layout that the folder has files for.
        prepared: the folder, as the model's own tokenizers prepare it.
        controllability: figures of `measure_controllability`; None when none were requested.
        objective: layout -> report of the model's objective, such as accuracy; empty without any.
        tables: lines for people of each of these reports.
    """

    losses: list[LayoutLoss]
    prepared: Prepared
    controllability: dict[str, Any] | None = None
    objective: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: list[Sequence[str]] = field(default_factory=list)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `as_json()` to the JSON file `path`."""
        write_json(Path(path), self.as_json())

    def _repr_html_(self) -> str:
        """Show a row for each layout, and the reports of the objective."""
        heads = ("layout", "pieces", "tokens", "nats a token")
        rows = [(loss.layout, loss.pieces, loss.targets, plain(loss.nats_per_token)) for loss in self.losses]
        more = [{n: v for n, v in report.items() if isinstance(v, int | float)} for report in self.objective.values()]
        return html_table(heads, rows) + "".join(
            [*map(html_figures, more), *map(html_lines, filter(None, self.tables))]
        )

    def as_json(self) -> dict[str, Any]:
        """Return all figures, as `helicon eval --json` prints them.

        Returns:
            dict: `files` (number read), `skipped` (file -> reason), `passed_over` (kind of file -> count), `repaired`
            (event -> count), `layouts` (layout -> `LayoutLoss.as_json()`), and where there are some `objective` (layout
            -> report) and `controllability` (of `measure_controllability`).
        """
        figures: dict[str, Any] = {
            "files": self.prepared.files, "skipped": self.prepared.skipped,
            "passed_over": dict(self.prepared.passed), "repaired": self.prepared.repaired,
            "layouts": {loss.layout: loss.as_json() for loss in self.losses},
        }  # fmt: skip
        figures |= {"objective": self.objective} if self.objective else {}
        return figures if self.controllability is None else {**figures, "controllability": self.controllability}


def evaluate(
    bundle: Bundle, folder: Place, *, manifest: Path | None = None, validation: bool = False,
    val_split: float | None = None, controllability: int = 0, seconds: float | None = None, seed: int | None = None,
    source_options: Mapping[str, Any] = MappingProxyType({}),
) -> Evaluation:  # fmt: skip
    """Evaluate a model on all files of a folder, or on its validation part.

    Args:
        bundle: `Bundle` of the model.
        folder: folder of files, searched recursively, or place that is elsewhere.
        manifest: CSV, JSONL or COCO JSON file that lists the files, instead of searching.
        validation: measure only the validation part.
        val_split: share in [0, 1] of the validation part; None for the files that the model was not trained on.
        controllability: pieces of each label to sample for the controllability figures; 0 for none.
        seconds: length of each of these pieces in seconds; None for 24.
        seed: of their sampling; None for 0.
        source_options: how the files are written, name -> value, as in `open_folder`; None counts as not there.

    Returns:
        The `Evaluation`.

    Raises:
        EvaluationError: an option without effect, or an empty validation part.
        DataError: no files that the model can read, or none with a label that a classifier knows.
        ControllabilityError: the model takes no style, or no label has enough pieces.
    """
    options = check_options(validation, val_split, controllability, seconds=seconds, seed=seed)
    labels = bundle.labels if bundle.objective.examples == "labelled" else None  # so that the split is that of training
    written = {name: value for name, value in source_options.items() if value is not None}
    prepared, layouts = open_folder(bundle, folder, manifest, val_split, labels, written)
    if validation and not any(len(corpus.select(val=True)) for corpus in prepared.corpora):
        raise EvaluationError(
            f"--validation: no file of {folder} was left out of the model's training; "
            "--data.val_split 0.05 takes a part of it"
        )
    losses = measure_losses(bundle, prepared, layouts, validation)
    figures = (
        measure_controllability(bundle, prepared, layouts, controllability, **options) if controllability else None
    )
    reports = objective_reports(bundle, prepared, layouts, validation)
    tables = [table_of(bundle.objective, report) for report in reports.values()]
    return Evaluation(losses=losses, prepared=prepared, controllability=figures, objective=reports, tables=tables)


def objective_reports(
    bundle: Bundle, prepared: Prepared, layouts: Sequence[Layout], val: bool = False, batch: int = 16
) -> dict[str, dict[str, Any]]:
    """Report what the model's objective measures beside the loss.

    Args:
        bundle: `Bundle` of the model with its objective.
        prepared: `Prepared` files, as `open_folder` returns them.
        layouts: `Layout` of each corpus, in order.
        val: measure only the validation part; False for all examples.
        batch: sequences or pairs in a batch.

    Returns:
        Layout as text -> JSON-able dict of the objective's figures, for the layouts that have some.
    """
    reports = {}
    for corpus, layout in zip(prepared.corpora, layouts):
        numbers, blind = label_numbers(corpus, bundle.labels), bundle.objective.blind
        model = (bundle.gpt, bundle.sequencer, corpus, layout)
        pieces = window_batches(*model, measured_examples(corpus, val), batch, blind, numbers)
        batches = pair_batches(*model, val, batch) if len(corpus.pairs) else pieces
        reports[str(layout)] = report_of(bundle.objective, bundle.network, batches)
    return {layout: report for layout, report in reports.items() if report}


def check_options(validation: bool, val_split: float | None, controllability: int, **pieces: Any) -> dict[str, Any]:
    """Check that no option is without effect.

    Args:
        validation: measure only the validation part.
        val_split: share of the files in it; None where not set.
        controllability: pieces of each label to sample.
        pieces: `seconds` and `seed` of these pieces, None where not set.

    Returns:
        Name -> value of those of `pieces` that are set.

    Raises:
        EvaluationError: an option without effect.
    """
    options = {name: value for name, value in pieces.items() if value is not None}
    if val_split is not None and not validation:
        raise EvaluationError("--data.val_split would have no effect: it says which files --validation measures")
    if val_split is not None:
        check_val_split(val_split)
    if options and not controllability:
        raise EvaluationError(f"--{next(iter(options))} would have no effect without --controllability N")
    return options
