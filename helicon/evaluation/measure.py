"""A model measured on a folder: how well it knows the files, and whether it does as it is asked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helicon.bundle.bundle import Bundle
from helicon.cli import CommandError
from helicon.data.config import check_held_out
from helicon.data.labelled import label_numbers
from helicon.data.prepare import DataSource, Prepared
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


class EvaluationError(CommandError, ValueError):
    """What cannot be measured, or an option of what is not; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What was measured.

    Args:
        losses: of each layout that the folder has files for.
        prepared: the folder as the model's own tokenizers see it.
        controllability: figures of pieces that were asked for and judged; None where none were.
        objective: layout -> what the model's objective reports beside the loss, such as accuracy; empty without any.
        tables: of each of these reports, its lines for people.
    """

    losses: list[LayoutLoss]
    prepared: Prepared
    controllability: dict[str, Any] | None = None
    objective: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: list[Sequence[str]] = field(default_factory=list)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes all figures as JSON."""
        write_json(Path(path), self.as_json())

    def _repr_html_(self) -> str:
        """A row for each layout, and what else was measured of it."""
        heads = ("layout", "pieces", "tokens", "nats a token")
        rows = [(loss.layout, loss.pieces, loss.targets, plain(loss.nats_per_token)) for loss in self.losses]
        more = [{n: v for n, v in report.items() if isinstance(v, int | float)} for report in self.objective.values()]
        return html_table(heads, rows) + "".join(
            [*map(html_figures, more), *map(html_lines, filter(None, self.tables))]
        )

    def as_json(self) -> dict[str, Any]:
        """All figures by name, as `helicon eval --json` prints them."""
        found: dict[str, Any] = {
            "files": self.prepared.files, "skipped": self.prepared.skipped, "repaired": self.prepared.repaired,
            "layouts": {loss.layout: loss.as_json() for loss in self.losses},
        }  # fmt: skip
        found |= {"objective": self.objective} if self.objective else {}
        return found if self.controllability is None else {**found, "obedience": self.controllability}


def evaluate(
    bundle: Bundle, folder: Path, *, manifest: Path | None = None, heldout: bool = False, held_out: float | None = None,
    obedience: int = 0, seconds: float | None = None, seed: int | None = None,
) -> Evaluation:  # fmt: skip
    """Measures a model on all files of a folder, or on those that a training on it would hold out.

    Args:
        bundle: the model.
        folder: of files, searched recursively.
        manifest: list of files, instead of searching.
        heldout: whether only the files count that are held out.
        held_out: share of the files that is; that of a training unless given.
        obedience: pieces of each label to make and judge.
        seconds: length of each of these.
        seed: of these.

    Raises:
        EvaluationError: for an option of what is not measured, or where nothing is held out.
        DataError: where there are no files that the model can read, or none of a label that a model of labels knows.
        ControllabilityError: where the model takes no style, or no label has pieces enough.
    """
    asked = check_asked(heldout, held_out, obedience, seconds=seconds, seed=seed)
    labels = bundle.labels if bundle.objective.examples == "labelled" else None  # so that the split is that of training
    prepared, layouts = open_folder(
        bundle, folder, manifest, DataSource.held_out if held_out is None else held_out, labels
    )
    if heldout and not any(len(corpus.select(val=True)) for corpus in prepared.corpora):
        raise EvaluationError(f"--heldout: nothing of {folder} is held out; it has one piece")
    losses = measure_losses(bundle, prepared, layouts, heldout)
    figures = measure_controllability(bundle, prepared, layouts, obedience, **asked) if obedience else None
    reports = objective_reports(bundle, prepared, layouts, heldout)
    tables = [table_of(bundle.objective, report) for report in reports.values()]
    return Evaluation(losses=losses, prepared=prepared, controllability=figures, objective=reports, tables=tables)


def objective_reports(
    bundle: Bundle, prepared: Prepared, layouts: Sequence[Layout], val: bool = False, batch: int = 16
) -> dict[str, dict[str, Any]]:
    """Layout -> what the model's objective says of all pieces, or of those that are held out; of those that say any."""
    found = {}
    for corpus, layout in zip(prepared.corpora, layouts):
        numbers, blind = label_numbers(corpus, bundle.labels), bundle.objective.blind
        of = (bundle.gpt, bundle.sequencer, corpus, layout)
        pieces = window_batches(*of, measured_examples(corpus, val), batch, blind, numbers)
        batches = pair_batches(*of, val, batch) if len(corpus.pairs) else pieces
        found[str(layout)] = report_of(bundle.objective, bundle.network, batches)
    return {layout: report for layout, report in found.items() if report}


def check_asked(heldout: bool, held_out: float | None, obedience: int, **pieces: Any) -> dict[str, Any]:
    """What is said of the pieces to make; EvaluationError for an option of what is not measured."""
    asked = {name: value for name, value in pieces.items() if value is not None}
    if held_out is not None and not heldout:
        raise EvaluationError("--data.held_out would have no effect: it says which files --heldout measures")
    check_held_out(DataSource.held_out if held_out is None else held_out)
    if asked and not obedience:
        raise EvaluationError(f"--{next(iter(asked))} would have no effect: it is of the pieces of --obedience N")
    return asked
