"""A run is the same whatever number of processes share its batches, and may be gone on with by another number."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_runs import arguments, fit, resume_words, signalled_at, weights

from helicon.bundle.storage import load_bundle
from helicon.training.run import run_lightning
from helicon.training.runs.metrics import read_metrics
from helicon.training.stopping import Interrupted

SAME = [
    "--model.dropout=0", "--trainer.precision=64-true", "--data.layouts+=music", "--data.val_batches=5",
    "--trainer.accumulate_grad_batches=2", "--trainer.val_check_interval=4",
]  # fmt: skip
ALONE = ["--trainer.strategy=auto", "--trainer.devices=1"]
DDP = ["--config=ddp", "--trainer.devices=2"]
FSDP = ["--config=fsdp", "--trainer.devices=2"]

COMMAND_STOPPED = """
import sys
from training_runs import signalled_at
from helicon.cli import main
with signalled_at(int(sys.argv[1])):  # SIGTERM to the first process alone
    sys.exit(main(sys.argv[2:]))
"""


def fit_in_two(words: list[str], stop: int) -> str:
    """Runs `helicon fit` in processes of its own until it is stopped at a step; what it said."""
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", COMMAND_STOPPED, str(stop), "fit", *words], timeout=240, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}, check=False,
    )  # fmt: skip
    assert done.returncode == 143, done.stderr
    return done.stderr


def fit_alone(words: list[str], stop: int) -> None:
    """The same in this process."""
    with signalled_at(stop), pytest.raises(Interrupted):
        run_lightning("fit", words)


@pytest.mark.parametrize(
    "strategies",
    [pytest.param([DDP], id="ddp"), pytest.param([DDP, FSDP], id="ddp, then fsdp", marks=pytest.mark.slow)],
)
def test_a_run_by_one_and_two_processes_in_turn_is_the_run_by_one(midi_folder, tmp_path, strategies):
    whole, moved = fit(midi_folder, tmp_path, "whole", *SAME), tmp_path / "moved"
    fit_alone(arguments(midi_folder, tmp_path, "moved", *SAME), stop=1)
    for strategy, steps in zip(strategies, ((5, 6), (9, 10))):
        said = fit_in_two([*resume_words(moved), *strategy], stop=steps[0])
        assert said.count(f"helicon train --resume {moved}") == 1
        fit_alone([*resume_words(moved), *ALONE], stop=steps[1])
    run_lightning("fit", [*resume_words(moved), *ALONE])

    expected, found = read_metrics(whole), read_metrics(moved)
    assert found.keys() == expected.keys() >= {"train/music", "val/music", "val/loss"}
    for name, (steps, values) in expected.items():
        assert found[name][0] == steps
        assert found[name][1] == pytest.approx(values, abs=1e-5)
    assert expected["val/loss"][0] == [1, 3, 5, 7, 9, 11]  # some by each
    for kept in (weights, lambda run: load_bundle(run).gpt.state_dict()):
        torch.testing.assert_close(kept(moved), kept(whole), atol=1e-5, rtol=0)
