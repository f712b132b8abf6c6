"""Record of a run's progress, step by step, from which its learning rates follow and the run can be repeated.

Schedules follow the clock, so that a repetition needs the recorded times. The record is progress.csv of a run, and part
of its checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from helicon.formats.files import open_regular, write_text
from helicon.formats.printable import printable
from helicon.training.errors import TrainingError

FILE = "progress.csv"
HEADER = "step,progress,validated\n"  # first line: columns
MAX_STEPS = 10_000_000  # read at most, into memory
MAX_LINE_BYTES = 60  # a step, a float's repr of up to 24 characters, and a digit need less


@dataclass
class ProgressRecord:
    """Progress of a run before each optimizer step, and the steps that a validation followed.

    Args:
        progress: share of the training done, 0 to 1, before each step; one more than there were steps, as the rate of
            the next step is known too.
        validations: steps after which a validation was run.
    """

    progress: list[float] = field(default_factory=list)
    validations: list[int] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Number of optimizer steps done."""
        return max(0, len(self.progress) - 1)

    def state(self) -> dict[str, Tensor]:
        """Return the record as a checkpoint stores it: `progress` float64 [steps + 1] and `validations` int64 [N]."""
        return {
            "progress": torch.tensor(self.progress, dtype=torch.float64),
            "validations": torch.tensor(self.validations, dtype=torch.int64),
        }

    @staticmethod
    def from_state(state: Any) -> ProgressRecord:
        """Return the `ProgressRecord` of a `state()` from a checkpoint.

        Raises:
            ValueError: a damaged state.
        """
        progress, validations = (
            state.get(name) if isinstance(state, Mapping) else None for name in ("progress", "validations")
        )
        if not isinstance(progress, Tensor) or not isinstance(validations, Tensor):
            raise ValueError("no record of its progress")
        if not progress.dim() == validations.dim() == 1 or not len(progress):
            raise ValueError("no record of its progress")
        if not ((progress >= 0) & (progress <= 1)).all():
            raise ValueError("its record of progress does not go from 0 to 1")
        return ProgressRecord(progress.double().tolist(), validations.long().tolist())

    def write(self, run: Path) -> None:
        """Write the record to progress.csv in a run's folder."""
        validated = set(self.validations)
        rows = (f"{step},{share!r},{int(step in validated)}\n" for step, share in enumerate(self.progress))
        write_text(run / FILE, HEADER + "".join(rows))


def read_record(run: Path) -> ProgressRecord:
    """Read progress.csv in a run's folder to a `ProgressRecord`.

    Raises:
        TrainingError: the file is missing or damaged.
    """
    path = run / FILE
    try:
        with open_regular(path, links=False) as file:
            if file.readline(MAX_LINE_BYTES) != HEADER.encode():
                raise ValueError("no record of a run's progress")
            return _parse_rows(file)
    except FileNotFoundError:
        raise TrainingError(f"{printable(path)}: missing; it says how the run went, step by step") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise TrainingError(f"{printable(path)}: {printable(reason, 100)}") from None


def _parse_rows(file: BinaryIO) -> ProgressRecord:
    record = ProgressRecord()
    while line := file.readline(MAX_LINE_BYTES):
        number, fault = len(record.progress), f"damaged in line {len(record.progress) + 2}"
        step, *values = line.split(b",")
        if step != str(number).encode() or len(values) != 2 or values[1] not in (b"0\n", b"1\n"):
            raise ValueError(fault)
        try:
            share = float(values[0])
        except ValueError:
            raise ValueError(fault) from None
        if not 0 <= share <= 1 or number > MAX_STEPS:
            raise ValueError(fault)
        record.progress.append(share)
        if values[1] == b"1\n":
            record.validations.append(number)
    if not record.progress:
        raise ValueError("no step is in it")
    return record
