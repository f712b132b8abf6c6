"""Two processes that share a batch train as one process does."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from training_runs import arguments, fit

from helicon.training.metrics import read_metrics


def test_two_processes_are_one(midi_folder, tmp_path):
    same = [
        "--model.dropout=0",
        "--trainer.precision=64-true",
        "--data.layouts+=music",
        "--data.val_batches=5",
        "--trainer.accumulate_grad_batches=2",
    ]
    one = fit(midi_folder, tmp_path, "one", *same)
    two = arguments(midi_folder, tmp_path, "two", *same, "--trainer.strategy=ddp", "--trainer.devices=2")
    done = subprocess.run(
        [sys.executable, "-m", "helicon.cli", "fit", *two],
        timeout=240, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    expected, found = read_metrics(one), read_metrics(tmp_path / "two")
    assert found.keys() == expected.keys() >= {"train/music", "val/music", "val/loss"}
    for name, (steps, values) in expected.items():
        assert found[name][0] == steps
        assert found[name][1] == pytest.approx(values, abs=1e-5)
