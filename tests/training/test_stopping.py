"""What ends a training before its time: signals, and callbacks of one's own."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from training_runs import fit

from helicon.training.runs.metrics import read_metrics
from helicon.training.stopping import StopOnSignal


def test_a_second_signal_ends_at_once_with_the_status_of_that_signal(capsys):
    stopping = StopOnSignal(Any, Any)
    stopping._note(signal.SIGTERM, None)
    assert "stopping after this step" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        stopping._note(signal.SIGINT, None)
    assert left.value.code == 130


def test_callbacks_of_the_user_are_called_beside_ours(midi_folder, tmp_path):
    """Stops where the loss is below 1000: at once, after the first of two validations."""
    early = ["--trainer.callbacks+=pytorch_lightning.callbacks.EarlyStopping", "--trainer.callbacks.monitor=val/loss"]
    run = fit(midi_folder, tmp_path, "early", *early, "--trainer.callbacks.stopping_threshold=1000")
    assert read_metrics(run)["val/loss"][0] == [5]
    assert (run / "model" / "bundle.json").is_file()
