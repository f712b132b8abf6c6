"""Callbacks, optimizers and schedules of the user, from the current folder too where they are typed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from training_runs import arguments, fit, resume_words, signalled_at, weights

from helicon.bundle.storage import load_bundle
from helicon.cli import main
from helicon.training.resuming import resumed_config
from helicon.training.run import run_lightning
from helicon.training.runs.checkpoints import read_checkpoint
from helicon.training.runs.metrics import read_metrics
from helicon.training.runs.record import read_record
from helicon.training.stopping import Interrupted

FEW = ("--model.layers=1", "--data.val_batches=1")
MINE = """
import pytorch_lightning as pl
import beside

class Mine(pl.Callback):
    def __init__(self, word: str = "none") -> None:
        self.word = word

    def on_fit_end(self, trainer, pl_module):
        print("MINE", self.word, beside.NUMBER)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Iterator[Path]:
    """The current folder, with a module of the user's own and one that it imports."""
    (tmp_path / "mine_too.py").write_text(MINE)
    (tmp_path / "beside.py").write_text("NUMBER = 6 * 7")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("mine_too", "beside"):
        sys.modules.pop(name, None)


def test_a_typed_callback_of_the_current_folder_is_called(midi_folder, folder, capsys):
    """From which nothing is imported by itself, as in a process that the command is started in."""
    assert not {"", ".", str(folder)} & set(sys.path)
    typed = ("--trainer.callbacks+=mine_too.Mine", "--trainer.callbacks.word=hello", "--trainer.max_steps=1")
    assert main(["fit", *arguments(midi_folder, folder / "runs", "run", *FEW, *typed)]) == 0
    assert "MINE hello 42" in capsys.readouterr().out


def test_a_config_does_not_reach_into_the_current_folder(midi_folder, folder, capsys):
    (folder / "theirs.yaml").write_text("trainer: {callbacks: [{class_path: mine_too.Mine}]}\n")
    words = arguments(midi_folder, folder / "runs", "run", *FEW, "--trainer.max_steps=1")
    assert main(["fit", *words, "--config", "theirs.yaml"]) == 2
    assert "No module named 'mine_too'" in capsys.readouterr().err
    named = {"class_path": "mine_too.Mine", "init_args": {"word": "typed"}}
    assert main(["fit", *words, f"--trainer.callbacks=[{named}]"]) == 0
    assert "MINE typed 42" in capsys.readouterr().out
    # The run names code: it is gone on with as the refusal says
    assert main(["train", "--resume", str(folder / "runs" / "run")]) == 1
    error = capsys.readouterr().err
    assert "trainer names code" in error
    run = folder / "runs" / "run"
    assert f"helicon fit --config {run}/config.yaml --runs {run.parent} --name run --ckpt_path last" in error


def test_a_module_that_fails_is_one_line(midi_folder, folder, capsys):
    (folder / "broken_user.py").write_text("import nowhere_at_all\n")
    assert main(["fit", *arguments(midi_folder, folder / "runs", "run", "--trainer.callbacks+=broken_user.Mine")]) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "broken_user.py cannot be imported (ModuleNotFoundError: No module named 'nowhere_at_all')" in line
    assert "broken_user" not in sys.modules
    assert str(folder) not in sys.path


def test_a_model_checkpoint_of_the_user_keeps_checkpoints_beside_ours(midi_folder, tmp_path):
    keep = ("--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.monitor=val/loss",
            "--trainer.callbacks.filename={step}", "--trainer.callbacks.save_top_k=1")  # fmt: skip
    run = fit(midi_folder, tmp_path, "run", *FEW, *keep)
    (best,) = (run / "lightning" / "checkpoints").glob("*.ckpt")
    losses = dict(zip(*read_metrics(run)["val/loss"]))
    assert best.name == f"step={1 + min(losses, key=losses.__getitem__)}.ckpt"
    assert read_checkpoint(best)["state_dict"].keys() == weights(run).keys()
    assert {path.name for path in (run / "checkpoints").iterdir()} <= {"last.ckpt", "previous.ckpt"}
    branch = run_lightning(
        "fit", ["--config", str(run / "config.yaml"), "--runs", str(tmp_path), "--name", "branch",
                "--trainer.max_steps=13", "--ckpt_path", "best"],
    ).run_folder  # fmt: skip
    assert read_record(branch).steps == 13


def test_last_is_the_newest_checkpoint_of_a_run(midi_folder, tmp_path, capsys):
    whole = fit(midi_folder, tmp_path, "whole", *FEW)
    with signalled_at(4), pytest.raises(Interrupted):
        fit(midi_folder, tmp_path, "run", *FEW)
    run, place = tmp_path / "run", ["--runs", str(tmp_path), "--name", "run"]
    assert main(["validate", "--config", str(run / "config.yaml"), "--ckpt_path", "last"]) == 0
    words = ["fit", "--config", str(run / "config.yaml"), *place, "--ckpt_path"]
    assert main([*words, "best"]) == 1
    assert f"weights of its best validation loss are in {run / 'model'}" in capsys.readouterr().err
    assert main([*words, "last"]) == 0
    expected = weights(whole)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(run).items())
    assert main(["fit", *arguments(midi_folder, tmp_path, "new", "--ckpt_path=last")]) == 1
    assert "--ckpt_path last: of which run?" in capsys.readouterr().err


def test_best_never_leads_out_of_a_run(midi_folder, tmp_path, capsys):
    """Nor does it stumble over callbacks that are of another kind: the run may be a stranger's."""
    run = fit(midi_folder, tmp_path, "run", *FEW, "--trainer.max_steps=1")
    other = fit(midi_folder, tmp_path, "other", *FEW, "--trainer.max_steps=1") / "checkpoints" / "last.ckpt"
    path = run / "checkpoints" / "last.ckpt"
    checkpoint = read_checkpoint(path)
    for callbacks in ({"ModelCheckpoint{}": {"best_model_path": str(other)}}, {"ModelCheckpoint": [7]}, ["x"], 7):
        torch.save({**checkpoint, "callbacks": callbacks}, path)
        assert main(["validate", "--config", str(run / "config.yaml"), "--ckpt_path", "best"]) == 1
        assert "has kept one there" in capsys.readouterr().err


SGD = ("--optimizer=SGD", "--optimizer.lr=0.01", "--optimizer.momentum=0.9")
PLATEAU = ("--lr_scheduler=ReduceLROnPlateau", "--lr_scheduler.monitor=val/loss", "--lr_scheduler.patience=0",
           "--lr_scheduler.threshold=10", "--trainer.val_check_interval=2")  # fmt: skip
USER_CLASSES = {
    "schedule": ("--lr_scheduler=StepLR", "--lr_scheduler.step_size=3", "--lr_scheduler.gamma=0.5"),
    "plateau": (*SGD, *PLATEAU),
    "adafactor": ("--optimizer=Adafactor", "--optimizer.lr=0.01"),
}  # fmt: skip


def rates(run: Path) -> list[float]:
    """Rates of a run's optimizer as it ended."""
    (state,) = read_checkpoint(run / "checkpoints" / "last.ckpt")["optimizer_states"]
    return [
        group["lr"] for part in (state, *state.values()) if "param_groups" in part for group in part["param_groups"]
    ]


@pytest.mark.parametrize("kind", USER_CLASSES)
def test_an_optimizer_and_a_schedule_of_the_user_are_resumed_to_the_bit(midi_folder, tmp_path, kind):
    more = (*FEW, *USER_CLASSES[kind], "--trainer.max_steps=7")
    whole = fit(midi_folder, tmp_path, "whole", *more)
    expected = {"schedule": 3e-3 * 0.25, "plateau": 0.01 * 0.1**3}
    if kind in expected:
        assert rates(whole) == pytest.approx([expected[kind]] * len(rates(whole)))
    else:
        assert max(rates(whole)) < 0.01  # the course of the rate is ours
    assert read_record(whole).steps == 7
    with signalled_at(3), pytest.raises(Interrupted):
        fit(midi_folder, tmp_path, "stopped", *more)
    stopped = run_lightning("fit", resume_words(tmp_path / "stopped")).run_folder
    wanted = weights(whole)
    assert all(torch.equal(tensor, wanted[name]) for name, tensor in weights(stopped).items())
    assert rates(stopped) == rates(whole)
    assert load_bundle(stopped).notes["step"] == load_bundle(whole).notes["step"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*SGD, "--model.lr=1"), "--model.lr would have no effect beside --optimizer"),
        (
            ("--lr_scheduler=StepLR", "--lr_scheduler.step_size=3", "--model.warmup=0"),
            "--model.warmup would have no eff",
        ),
        (("--optimizer=SGDD",), "SGDD"),
        (("--optimizer=SGD", "--optimizer.lr=-1"), "--optimizer torch.optim.SGD: Invalid learning rate: -1"),
        ((*SGD, *PLATEAU, "--trainer.val_check_interval=00:00:01:00"), "let --trainer.val_check_interval be a number"),
    ],
)
def test_what_an_optimizer_does_not_take_is_one_line(midi_folder, tmp_path, capsys, words, said):
    assert main(["fit", *arguments(midi_folder, tmp_path, "run", *FEW, *words)]) in (1, 2)
    assert said in capsys.readouterr().err.strip().splitlines()[-1]
    if "beside" in said:
        assert main(["train", "music", str(midi_folder), *words]) == 2
        assert said in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_run_with_an_optimizer_of_the_user_is_repeated_by_whoever_types_it(midi_folder, tmp_path):
    run = fit(midi_folder, tmp_path, "run", *FEW, *SGD, "--trainer.max_steps=2")
    with pytest.raises(Exception, match="optimizer names code"):
        resumed_config(run)
