"""What the clock said: the progress that learning rates followed, step by step, by which a run can be repeated.

progress.csv of a run, and the same in its checkpoints.
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
HEADER = "step,progress,validated\n"
MOST_STEPS = 10_000_000  # that are read
LONGEST_LINE = 60  # bytes


@dataclass
class ProgressRecord:
    """The share of a run that was done before each optimizer step, and the steps that a validation followed.

    progress: one more than there were steps, since the rate of the next one is known too.
    """

    progress: list[float] = field(default_factory=list)
    validations: list[int] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Optimizer steps that were made."""
        return max(0, len(self.progress) - 1)

    def state(self) -> dict[str, Tensor]:
        """As checkpoints keep it."""
        return {
            "progress": torch.tensor(self.progress, dtype=torch.float64),
            "validations": torch.tensor(self.validations, dtype=torch.int64),
        }

    @staticmethod
    def from_state(state: Any) -> ProgressRecord:
        """Inverse of `state`; ValueError for what is none."""
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
        """Writes progress.csv of a run."""
        validated = set(self.validations)
        rows = (f"{step},{share!r},{int(step in validated)}\n" for step, share in enumerate(self.progress))
        write_text(run / FILE, HEADER + "".join(rows))


def read_record(run: Path) -> ProgressRecord:
    """That of a run's progress.csv. TrainingError where there is none, or one that is damaged."""
    path = run / FILE
    try:
        with open_regular(path, links=False) as file:
            if file.readline(LONGEST_LINE) != HEADER.encode():
                raise ValueError("no record of a run's progress")
            return _rows(file)
    except FileNotFoundError:
        raise TrainingError(f"{printable(path)}: missing; it says how the run went, step by step") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise TrainingError(f"{printable(path)}: {printable(reason, 100)}") from None


def _rows(file: BinaryIO) -> ProgressRecord:
    record = ProgressRecord()
    while line := file.readline(LONGEST_LINE):
        number, fault = len(record.progress), f"damaged in line {len(record.progress) + 2}"
        step, *values = line.split(b",")
        if step != str(number).encode() or len(values) != 2 or values[1] not in (b"0\n", b"1\n"):
            raise ValueError(fault)
        try:
            share = float(values[0])
        except ValueError:
            raise ValueError(fault) from None
        if not 0 <= share <= 1 or number > MOST_STEPS:
            raise ValueError(fault)
        record.progress.append(share)
        if values[1] == b"1\n":
            record.validations.append(number)
    if not record.progress:
        raise ValueError("no step is in it")
    return record
