"""Sums of a validation."""

from __future__ import annotations

import torch

from helicon.training.learning.sums import Sums


def test_sums_are_of_all_batches_and_exact():
    sums = Sums(2, torch.device("cpu"))
    for _ in range(10):
        sums.update(torch.tensor(16_777_217.0, dtype=torch.float64), 1)
        sums.update(torch.tensor(0.5), 0)
    assert sums.compute().tolist() == [167_772_175.0, 10.0]
    assert sums.state_dict() == {}  # nothing of it is in a checkpoint
    sums.reset()
    assert sums.compute().tolist() == [0.0, 0.0]
