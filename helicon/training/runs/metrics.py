"""metrics.csv of a run: one row per step, one column per metric. A resumed run appends to it."""

from __future__ import annotations

import csv
from argparse import Namespace
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

from helicon.formats.checked import MAX_STEPS
from helicon.formats.files import open_regular, write_bytes
from helicon.formats.printable import printable
from helicon.training.errors import TrainingError

STEP = "step"  # the first column
MAX_LINE_BYTES = 1 << 16  # MAX_METRICS numbers of repr's 24 characters at most, and their names
MAX_METRICS = 1000  # columns; a run has some 20
MAX_READ_BYTES = 4 << 20  # the end of a longer file: some 20,000 rows, more than a curve has pixels
MAX_REWRITTEN_BYTES = 64 << 20  # a new column rewrites the file, in memory; larger files are refused
Metrics = Mapping[str, tuple[list[int], list[float]]]  # metric -> (steps, values)


class MetricsLogger(Logger):
    """Lightning logger that writes RUN/metrics.csv, beside the user's loggers.

    `name` and `version` make the folder RUN/lightning, into which Lightning's callbacks such as ModelCheckpoint write
    by default: RUN/checkpoints is for resuming alone.

    Args:
        run: folder of the run.
    """

    name, version = "lightning", ""  # type: ignore[assignment]

    def __init__(self, run: Path) -> None:
        super().__init__()
        self.table = MetricsTable(run / "metrics.csv")

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the run's config.yaml has the hyperparameters."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        # Batches are endless, so that Lightning's count of epochs means nothing
        values = {printable(name): float(value) for name, value in metrics.items() if name not in ("epoch", STEP)}
        if not values or step is None:
            return
        try:
            self.table.add(step, values)
        except OSError as error:
            error.filename = error.filename or str(self.table.path)  # the error of a full disk names no file
            raise


class MetricsTable:
    """Writer of a metrics.csv that grows by one row per step.

    Values that are added to the last step again, such as those of its validation, join its row. A new metric becomes a
    column, for which the file is rewritten, atomically.

    Args:
        path: of the file, which need not exist.

    Raises:
        TrainingError: the file is no metrics.csv.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.columns = _read_columns(path)  # metrics
        self._step, self._values, self._length = -1, dict[str, float](), 0  # the last row, and its bytes
        self._opened = False

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of a step.

        Args:
            step: optimizer steps done; not below that of the last call.
            values: name of a metric -> its value at the step.
        """
        if not self._opened:
            self._truncate_from(step)
        again = step == self._step
        row = {**self._values, **values} if again else dict(values)
        if again and row == self._values:  # values are logged again before a checkpoint
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

    def _truncate_from(self, step: int) -> None:
        """Cut off rows from `step` on, which a resumed run makes again, and the unfinished line of a killed process."""
        place, end = _read_tail(self.path)
        for line in end.splitlines(keepends=True):
            if not line.endswith(b"\n") or _step_of_row(line, self.columns) >= step:
                with self.path.open("r+b") as file:
                    file.truncate(place)
                break
            place += len(line)
        self._opened = True

    def _add_columns(self, names: Sequence[str]) -> None:
        """Rewrite the file with further columns; write its first line, where there is none."""
        size = self.path.stat().st_size if self.path.exists() else 0
        if size > MAX_REWRITTEN_BYTES or len(self.columns) + len(names) > MAX_METRICS:
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
    """Return metrics.csv of a run's folder: metric name -> (steps, values), two lists by ascending step.

    Of several rows of a step the last value counts.

    Incomplete lines, such as the last one of a killed run, are left out, and so is all but the last MAX_READ_BYTES.

    Raises:
        TrainingError: the file is no metrics.csv, or unreadable.
    """
    path = run / "metrics.csv"
    columns, (_, end) = _read_columns(path), _read_tail(path)
    series: list[dict[int, float]] = [{} for _ in columns]
    for line in end[: end.rfind(b"\n") + 1].splitlines():
        first, *cells = line.split(b",")
        if len(cells) != len(columns):
            continue
        try:
            step = int(first)
            if not 0 <= step <= MAX_STEPS:
                continue
            for values, cell in zip(series, cells):
                if cell:
                    values[step] = float(cell)
        except ValueError:  # the first line, or one that was cut off within a number
            continue
    points = {name: sorted(values.items()) for name, values in zip(columns, series) if values}
    return {name: ([step for step, _ in pairs], [value for _, value in pairs]) for name, pairs in points.items()}


def _read_columns(path: Path) -> list[str]:
    """Return the metrics of a file's columns; none where the file is missing or empty."""
    line = b""
    try:
        with open_regular(path, links=False) as file:
            line = file.readline(MAX_LINE_BYTES)
        step, *names = next(csv.reader([line.decode()])) if line else [STEP]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise TrainingError(f"{printable(path)}: {error.strerror}") from None
    except (ValueError, csv.Error):
        step, names = "", []
    if step != STEP or not line.endswith(b"\n"[: len(line)]) or not len(set(names)) == len(names) <= MAX_METRICS:
        raise TrainingError(f"{printable(path)}: damaged, its first line is not `{STEP}` and a run's metrics")
    if names == ["metric", "value"]:
        raise TrainingError(f"{printable(path)}: of an older format, a row a value; move it away, a new one is begun")
    return names


def _read_tail(path: Path) -> tuple[int, bytes]:
    """Return the byte where the last whole lines within MAX_READ_BYTES begin, and these lines."""
    try:
        with open_regular(path, links=False) as file:
            start = max(0, file.seek(0, 2) - MAX_READ_BYTES)
            file.seek(start)
            if start:
                start += len(file.readline())
            return start, file.read(MAX_READ_BYTES)
    except FileNotFoundError:
        return 0, b""
    except OSError as error:
        raise TrainingError(f"{printable(path)}: {error.strerror}") from None


def _step_of_row(line: bytes, columns: Sequence[str]) -> int:
    """Return the step of a row; -1 for the first line, and for what is no row."""
    if len(line) > MAX_LINE_BYTES or line.count(b",") != len(columns):
        return -1
    try:
        return int(line[: line.index(b",")])
    except ValueError:
        return -1
