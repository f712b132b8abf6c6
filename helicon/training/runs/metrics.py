"""metrics.csv of a run: one row a step, one column a metric. A run that is resumed goes on in it."""

from __future__ import annotations

import csv
from argparse import Namespace
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

from helicon.formats.checked import MOST_STEPS
from helicon.formats.files import open_regular, write_bytes
from helicon.formats.printable import printable
from helicon.training.errors import TrainingError

STEP = "step"  # the first column
LONGEST_LINE = 1 << 16  # bytes
MOST_METRICS = 1000
MOST_BYTES = 4 << 20  # that are read: of a longer file the end
MOST_REWRITTEN = 64 << 20  # bytes of a file that still gets further columns
Metrics = Mapping[str, tuple[list[int], list[float]]]  # metric -> (steps, values)


class MetricsLogger(Logger):
    """Writes RUN/metrics.csv, beside whatever loggers the user has chosen.

    name and version are those of the folder RUN/lightning, in which Lightning's own callbacks, such as ModelCheckpoint,
    write unless they or another logger say otherwise: RUN/checkpoints is for resuming alone.
    """

    name, version = "lightning", ""  # type: ignore[assignment]

    def __init__(self, run: Path) -> None:
        super().__init__()
        self.table = MetricsTable(run / "metrics.csv")

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The run's config.yaml has them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        # Lightning's epoch counts passes of its own over batches that are endless
        values = {printable(name): float(value) for name, value in metrics.items() if name not in ("epoch", STEP)}
        if not values or step is None:
            return
        try:
            self.table.add(step, values)
        except OSError as error:
            error.filename = error.filename or str(self.table.path)  # a full disk says nothing of what was written
            raise


class MetricsTable:
    """A metrics.csv that grows by one row a step. TrainingError for a file that is none.

    What is told of the same step later, such as its validation, joins its row, which is the last one. A metric that
    comes up for the first time becomes a column: for that the file is written anew, whole or not at all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns = _columns(path)  # metrics
        self._step, self._values, self._length = -1, dict[str, float](), 0  # the last row, and its bytes
        self._opened = False

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Writes the values of a step."""
        if not self._opened:
            self._go_on(step)
        again = step == self._step
        row = {**self._values, **values} if again else dict(values)
        if again and row == self._values:  # also logged before a checkpoint
            return
        if new := [name for name in values if name not in self.columns]:
            self._add_columns(new)
        cells = (repr(row[name]) if name in row else "" for name in self.columns)
        line = f"{step},{','.join(cells)}\n".encode()
        with self.path.open("r+b") as file:
            file.seek(-self._length if again else 0, 2)
            file.write(line)
            file.truncate()
        self._step, self._values, self._length = step, row, len(line)

    def _go_on(self, step: int) -> None:
        """Cuts off a last line that a killed process never finished, and rows of steps that are made once more."""
        place, end = _end_of(self.path)
        for line in end.splitlines(keepends=True):
            if not line.endswith(b"\n") or _step(line, self.columns) >= step:
                with self.path.open("r+b") as file:
                    file.truncate(place)
                break
            place += len(line)
        self._opened = True

    def _add_columns(self, names: Sequence[str]) -> None:
        """Writes the file anew; begins it, where there is none."""
        size = self.path.stat().st_size if self.path.exists() else 0
        if size > MOST_REWRITTEN or len(self.columns) + len(names) > MOST_METRICS:
            raise TrainingError(
                f"{printable(self.path)}: {size:,} bytes of {len(self.columns):,} metrics, too much for another one "
                f"({names[0]}); move the file away, and a new one is begun"
            )
        rows = self.path.read_bytes().splitlines()[1:] if size else []
        self.columns = [*self.columns, *names]
        header, more = StringIO(), b"," * len(names)
        csv.writer(header, lineterminator="\n").writerow([STEP, *self.columns])
        write_bytes(self.path, b"".join([header.getvalue().encode(), *(row + more + b"\n" for row in rows)]))
        self._length += len(more)


def read_metrics(run: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Metric -> (steps, values) in order. A step that has several rows counts with the last value of each metric.

    A line that is not whole, as the last one of a killed run, is left out. TrainingError for what is no such file.
    """
    path = run / "metrics.csv"
    columns, (_, end) = _columns(path), _end_of(path)
    series: list[dict[int, float]] = [{} for _ in columns]
    for line in end[: end.rfind(b"\n") + 1].splitlines():
        first, *cells = line.split(b",")
        if len(cells) != len(columns):
            continue
        try:
            step = int(first)
            if not 0 <= step <= MOST_STEPS:
                continue
            for values, cell in zip(series, cells):
                if cell:
                    values[step] = float(cell)
        except ValueError:  # the first line; one that was cut off within a number
            continue
    found = {name: sorted(values.items()) for name, values in zip(columns, series) if values}
    return {name: ([step for step, _ in pairs], [value for _, value in pairs]) for name, pairs in found.items()}


def _columns(path: Path) -> list[str]:
    """Metrics that a file has columns of; none where there is no file, or an empty one."""
    line = b""
    try:
        with open_regular(path, links=False) as file:
            line = file.readline(LONGEST_LINE)
        step, *names = next(csv.reader([line.decode()])) if line else [STEP]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise TrainingError(f"{printable(path)}: {error.strerror}") from None
    except (ValueError, csv.Error):
        step, names = "", []
    if step != STEP or not line.endswith(b"\n"[: len(line)]) or not len(set(names)) == len(names) <= MOST_METRICS:
        raise TrainingError(f"{printable(path)}: damaged, its first line is not `{STEP}` and a run's metrics")
    if names == ["metric", "value"]:
        raise TrainingError(f"{printable(path)}: of an older format, a row a value; move it away, a new one is begun")
    return names


def _end_of(path: Path) -> tuple[int, bytes]:
    """The lines that are read, and at which byte they begin: all of them, or the last ones of a long file."""
    try:
        with open_regular(path, links=False) as file:
            start = max(0, file.seek(0, 2) - MOST_BYTES)
            file.seek(start)
            if start:
                start += len(file.readline())
            return start, file.read(MOST_BYTES)
    except FileNotFoundError:
        return 0, b""
    except OSError as error:
        raise TrainingError(f"{printable(path)}: {error.strerror}") from None


def _step(line: bytes, columns: Sequence[str]) -> int:
    """The step of a row; -1 for the first line, and what is no row."""
    if len(line) > LONGEST_LINE or line.count(b",") != len(columns):
        return -1
    try:
        return int(line[: line.index(b",")])
    except ValueError:
        return -1
