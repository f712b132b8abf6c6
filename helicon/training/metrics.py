"""metrics.csv of a run: one row a value (step, metric, value), appended to and never rewritten: resuming keeps it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

from helicon.formats.files import open_regular
from helicon.formats.printable import printable
from helicon.training.errors import TrainingError

HEADER = "step,metric,value\n"
LONGEST_LINE = 1000  # bytes
MOST_METRICS = 1000
MOST_BYTES = 12 << 20  # that are read: of a longer file the end
Metrics = Mapping[str, tuple[list[int], list[float]]]  # metric -> (steps, values)


class MetricsLogger(Logger):
    """Appends to RUN/metrics.csv."""

    def __init__(self, run: Path) -> None:
        super().__init__()
        self.path, self._mended = run / "metrics.csv", False
        self._last: list[str] = []

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
        rows = [f"{step},{name},{float(value)!r}\n" for name, value in metrics.items() if name != "epoch"]
        if not rows or rows == self._last:  # also logged before a checkpoint
            return
        try:
            if not self._mended:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                mend(self.path)
                self._mended = True
            with self.path.open("a", newline="", encoding="utf-8") as file:
                file.write("".join(rows))
            self._last = rows
        except OSError as error:
            error.filename = error.filename or str(self.path)  # a full disk says nothing of what was written
            raise


def mend(path: Path) -> None:
    """Cuts off a last line that was never finished, as a killed process or a full disk leaves it; begins a new file."""
    with path.open("a+b") as file:
        size, start = file.tell(), max(0, file.tell() - LONGEST_LINE)
        file.seek(start)
        end = file.read()
        if not end.endswith(b"\n"):
            whole = end.rfind(b"\n") + 1
            file.truncate(start + whole if whole else 0 if start == 0 else size)
            if whole == 0 and start:  # no line of ours
                file.write(b"\n")
        if file.seek(0, 2) == 0:
            file.write(HEADER.encode())


def read_metrics(run: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Metric -> (steps, values) in order. A step logged again after resuming counts once, with its last value.

    A line that is not whole, as the last one of a killed run, is left out. TrainingError for what is no file.
    """
    series: dict[str, dict[int, float]] = {}
    for line in _end_of(run / "metrics.csv").split(b"\n")[:-1]:
        step, _, rest = line.partition(b",")
        name, _, value = rest.partition(b",")
        if len(line) <= LONGEST_LINE:
            with suppress(ValueError):  # the header, or two halves of lines
                number, figure = int(step), float(value)
                series.setdefault(name.decode(), {})[number] = figure
            if len(series) > MOST_METRICS:
                raise TrainingError(f"{printable(run / 'metrics.csv')}: more than {MOST_METRICS:,} metrics; no run's")
    return {name: (sorted(values), [values[step] for step in sorted(values)]) for name, values in series.items()}


def _end_of(path: Path) -> bytes:
    try:
        with open_regular(path, links=False) as file:
            start = max(0, file.seek(0, 2) - MOST_BYTES)
            file.seek(start)
            content = file.read(MOST_BYTES)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise TrainingError(f"{printable(path)}: {error.strerror}") from None
    return content.partition(b"\n")[2] if start else content
