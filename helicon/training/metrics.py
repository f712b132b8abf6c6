"""metrics.csv of a run: one row a value (step, metric, value), appended to and never rewritten: resuming keeps it."""

from __future__ import annotations

import csv
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

HEADER = ["step", "metric", "value"]
Metrics = Mapping[str, tuple[list[int], list[float]]]  # metric -> (steps, values)


class MetricsLogger(Logger):
    """Appends to RUN/metrics.csv."""

    def __init__(self, run: Path) -> None:
        super().__init__()
        self.path = run / "metrics.csv"

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> int:
        return 0

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The run's config.yaml has them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        rows = [(step, name, repr(float(value))) for name, value in metrics.items() if name != "epoch"]
        if not rows:
            return
        new = not self.path.exists()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([HEADER, *rows] if new else rows)


def read_metrics(run: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Metric -> (steps, values) in order. A step logged again after resuming counts once, with its last value."""
    series: dict[str, dict[int, float]] = {}
    path = run / "metrics.csv"
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                series.setdefault(row["metric"], {})[int(row["step"])] = float(row["value"])
    return {name: (sorted(values), [values[step] for step in sorted(values)]) for name, values in series.items()}
