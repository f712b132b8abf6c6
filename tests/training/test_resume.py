"""A run that was stopped and resumed is the run that was not."""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path

import pytest
import torch
from training_runs import arguments, fit, signalled_at, weights

from helicon.bundle.storage import load_bundle
from helicon.demos.composer import write_folder
from helicon.training.errors import TrainingError
from helicon.training.learning.base import RunModule
from helicon.training.learning.keeping import KeepCheckpoints
from helicon.training.resuming import resumed_config
from helicon.training.run import run_lightning
from helicon.training.runs.checkpoints import latest_checkpoint, read_checkpoint
from helicon.training.runs.metrics import read_metrics
from helicon.training.stopping import Interrupted

DROPOUT = "--model.dropout=0.1"
PIECEWISE = ("--trainer.accumulate_grad_batches=3", "--data.layouts+=music")


@pytest.fixture(scope="module")
def whole(midi_folder, tmp_path_factory) -> dict[tuple[str, ...], Path]:
    """Uninterrupted runs, with and without accumulation."""
    runs = tmp_path_factory.mktemp("whole")
    return {extra: fit(midi_folder, runs, f"run-{len(extra)}", DROPOUT, *extra) for extra in [(), PIECEWISE]}


# Step 5 ends with a validation; any other step is as good as the next.
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("step", "extra"), [(5, ()), ("any", ()), (4, PIECEWISE)])
def test_a_stopped_and_resumed_run_is_equal_to_the_bit(whole, midi_folder, tmp_path, workers, step, extra):
    step = random.randrange(1, 11) if step == "any" else step
    with signalled_at(step), pytest.raises(Interrupted):
        fit(midi_folder, tmp_path, "stopped", DROPOUT, f"--data.workers={workers}", *extra)
    stopped = tmp_path / "stopped"
    assert read_checkpoint(stopped / "checkpoints" / "last.ckpt")["global_step"] == step + 1
    torch.manual_seed(step)  # whatever the new process' generator holds
    assert run_lightning("fit", resumed_config(stopped)).run_folder == stopped
    assert read_metrics(stopped) == read_metrics(whole[extra])
    expected = weights(whole[extra])
    assert weights(stopped).keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(stopped).items())


def test_every_step_is_logged_once_and_validated_in_time(whole):
    metrics = read_metrics(whole[()])
    assert metrics["train/music"][0] == list(range(12))
    assert metrics["val/loss"][0] == [5, 11]
    assert metrics["train/music"][1][-1] < metrics["train/music"][1][0]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_command_line_says_how_to_go_on(midi_folder, tmp_path, capsys, number, status):
    from helicon.cli import main

    with signalled_at(3, number):
        assert main(["fit", *arguments(midi_folder, tmp_path, "stopped")]) == status
    assert f"helicon train --resume {tmp_path / 'stopped'}" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_tokenizers_are_not_fitted_again_when_the_folder_has_changed(midi_folder, tmp_path):
    folder = tmp_path / "midi"
    shutil.copytree(midi_folder, folder)
    with signalled_at(2), pytest.raises(Interrupted):
        fit(folder, tmp_path, "stopped")
    more = tmp_path / "more"
    write_folder(more, 1, seed=9)
    (more / next(more.iterdir()).name).rename(folder / "another-label")
    run = run_lightning("fit", resumed_config(tmp_path / "stopped")).run_folder
    assert "another-label" not in load_bundle(run).sequencer.tokenizers["style"].block.tokens


def test_a_truncated_checkpoint_falls_back_to_the_one_before(midi_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(KeepCheckpoints.__init__, "__defaults__", (0.0,))  # saved at each step
    run = fit(midi_folder, tmp_path, "run")
    last, previous = (run / "checkpoints" / name for name in ("last.ckpt", "previous.ckpt"))
    assert not (run / "checkpoints" / "next.ckpt").exists()
    last.write_bytes(last.read_bytes()[:-1000])
    (run / "checkpoints" / ".next-0123.ckpt").write_bytes(b"a save that was killed")
    assert resumed_config(run)["ckpt_path"] == str(previous)
    said = capsys.readouterr().err
    assert str(last) in said
    assert "damaged" in said
    assert f"going on from {previous}" in said
    previous.write_bytes(b"")
    with pytest.raises(TrainingError, match=r"previous\.ckpt.*last\.ckpt"):
        latest_checkpoint(run)


def test_validate_and_test_measure_a_checkpoint(midi_folder, tmp_path, capsys, monkeypatch):
    run = fit(midi_folder, tmp_path, "run", "--trainer.max_steps=6")
    seen = []
    monkeypatch.setattr(
        "helicon.training.learning.module.GPTModule.log", lambda self, name, value, **kw: seen.append((name, value))
    )
    checkpoint = ["--config", str(run / "config.yaml"), "--ckpt_path", str(run / "checkpoints" / "last.ckpt")]
    for command in ("validate", "test"):
        run_lightning(command, checkpoint)
    logged = dict(zip(*read_metrics(run)["val/loss"]))
    assert [name for name, _ in seen] == ["val/music", "val/loss"] * 2
    assert all(value == pytest.approx(logged[5], abs=1e-6) for _, value in seen)


def test_a_resumed_run_keeps_what_was_best_before(midi_folder, tmp_path, monkeypatch):
    """Also when the best validation followed the checkpoint: every later loss here is worse."""
    losses = iter([1.0, 2.0, 3.0])
    log = RunModule.log
    monkeypatch.setattr(
        RunModule,
        "log",
        lambda self, name, value, **how: log(self, name, next(losses) if name == "val/loss" else value, **how),
    )
    extra = ("--trainer.val_check_interval=4", "--trainer.max_steps=12")
    with signalled_at(3), pytest.raises(Interrupted):
        fit(midi_folder, tmp_path, "stopped", *extra)
    stopped = tmp_path / "stopped"
    best = load_bundle(stopped)
    assert (best.notes["step"], best.notes["val_loss"]) == (4, 1.0)
    run_lightning("fit", resumed_config(stopped))
    assert read_metrics(stopped)["val/loss"] == ([3, 7, 11], [1.0, 2.0, 3.0])
    assert load_bundle(stopped).hash() == best.hash()


def test_the_last_step_is_kept_where_that_is_asked_for(midi_folder, tmp_path, monkeypatch):
    """Every loss after the first is worse."""
    losses = iter([1.0, 2.0] * 2)
    log = RunModule.log
    monkeypatch.setattr(
        RunModule,
        "log",
        lambda self, name, value, **how: log(self, name, next(losses) if name == "val/loss" else value, **how),
    )
    best, last = (
        load_bundle(fit(midi_folder, tmp_path, weights, f"--weights={weights}")) for weights in ("best", "last")
    )
    assert (best.notes["step"], best.notes["val_loss"]) == (6, 1.0)
    assert last.notes["step"] == 12
    assert "val_loss" not in last.notes
    final = weights(tmp_path / "last")
    assert all(torch.equal(tensor, final[f"network.gpt.{name}"]) for name, tensor in last.gpt.state_dict().items())
