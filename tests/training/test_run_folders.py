"""Run folders: who writes where, one process at a time, and what a killed one leaves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_runs import arguments, fit, resume_words, signalled_at, weights

from helicon.bundle.storage import load_bundle
from helicon.cli import main
from helicon.formats.temporary import clear_abandoned, temporary_path
from helicon.training.errors import TrainingError
from helicon.training.learning.base import RunModule
from helicon.training.learning.keeping import KeepCheckpoints
from helicon.training.learning.module import GPTModule
from helicon.training.resuming import resumed_config
from helicon.training.run import HeliconCLI, run_lightning
from helicon.training.runs.metrics import read_metrics
from helicon.training.settings.lightning_options import UNUSED
from helicon.training.stopping import Interrupted
from helicon.training.usage_errors import UsageError


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def finished(midi_folder, tmp_path_factory) -> Path:
    return fit(midi_folder, tmp_path_factory.mktemp("finished"), "run", "--trainer.max_steps=4")


@pytest.fixture
def run(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def from_checkpoint(run: Path, *extra: str) -> list[str]:
    return ["--config", str(run / "config.yaml"), "--ckpt_path", str(run / "checkpoints" / "last.ckpt"), *extra]


def test_a_branch_from_a_checkpoint_is_a_run_of_its_own(run, tmp_path):
    """Where the checkpoint lies says nothing of where is written, nor its best loss of what the branch keeps."""
    notes = load_bundle(run).notes
    assert notes["val_loss"] > 0
    config = run / "model" / "bundle.json"
    config.write_text(config.read_text().replace(str(notes["val_loss"]), "0.0"))
    before = files(run)
    named = ("--runs", str(tmp_path / "runs"), "--trainer.max_steps=6")
    assert (
        run_lightning("fit", from_checkpoint(run, *named, "--name=branch")).run_folder == tmp_path / "runs" / "branch"
    )
    assert run_lightning("fit", from_checkpoint(run, *named, "--name=null")).run_folder == tmp_path / "runs" / "music-1"
    assert files(run) == before
    assert load_bundle(tmp_path / "runs" / "branch").notes["step"] == 6
    assert read_metrics(tmp_path / "runs" / "branch")["train/music"][0] == [4, 5]
    with pytest.raises(TrainingError, match="branch has something in it"):
        run_lightning("fit", from_checkpoint(run, *named, "--name=branch"))


def test_a_checkpoint_of_the_run_itself_is_gone_on_with_there(run, tmp_path):
    args = from_checkpoint(run, "--runs", str(tmp_path), "--name=run", "--trainer.max_steps=6")
    assert run_lightning("fit", args).run_folder == run
    assert read_metrics(run)["train/music"][0] == list(range(6))


def test_what_is_measured_stays_as_it_is(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = files(tmp_path)
    for command in ("validate", "test"):
        run_lightning(command, from_checkpoint(run))
    assert files(tmp_path) == before


def test_a_run_that_was_stopped_before_its_first_validation_can_be_generated_from(midi_folder, tmp_path, finished):
    with signalled_at(1, signal.SIGINT), pytest.raises(Interrupted):
        fit(midi_folder, tmp_path, "stopped", "--trainer.max_steps=4")
    stopped = load_bundle(tmp_path / "stopped")
    assert stopped.notes["step"] == 2
    assert "val_loss" not in stopped.notes
    assert (
        load_bundle(run_lightning("fit", resumed_config(tmp_path / "stopped")).run_folder).hash()
        == load_bundle(finished).hash()
    )


@pytest.mark.parametrize("torn", ["7", "7,train/music", "7,train/music,5.12"])
def test_a_torn_line_of_metrics_is_left_out_and_cut_off(run, torn):
    path, before = run / "metrics.csv", read_metrics(run)
    text = path.read_text()
    path.write_text(text + torn)
    assert read_metrics(run) == before
    run_lightning("fit", [*resume_words(run), "--trainer.max_steps=6"])
    assert path.read_text().startswith(text + "4,")
    assert read_metrics(run)["train/music"][0] == list(range(6))


@pytest.mark.parametrize("content", ["step,met", "9" * 5000, "step,metric,value\n3,train/music,1.0\n"])
def test_a_run_whose_metrics_are_none_stops_before_its_first_step(run, content, monkeypatch):
    (run / "metrics.csv").write_text(content)
    monkeypatch.setattr(GPTModule, "training_step", lambda *args: pytest.fail("a step was made"))
    with pytest.raises(TrainingError, match=r"metrics\.csv: (damaged|of an older format)"):
        run_lightning("fit", [*resume_words(run), "--trainer.max_steps=6"])
    assert (run / "metrics.csv").read_text() == content


def test_metrics_that_were_moved_away_begin_anew(run):
    (run / "metrics.csv").unlink()
    run_lightning("fit", [*resume_words(run), "--trainer.max_steps=6"])
    assert read_metrics(run)["train/music"][0] == [4, 5]


def test_a_run_folder_that_is_removed_as_it_trains(midi_folder, tmp_path, capsys, monkeypatch):
    start = RunModule.on_train_batch_start

    def remove(self, batch, batch_idx):
        if self.global_step == 3:
            shutil.rmtree(tmp_path / "runs" / "run")
        start(self, batch, batch_idx)

    monkeypatch.setattr(RunModule, "on_train_batch_start", remove)
    assert main(["fit", *arguments(midi_folder, tmp_path / "runs", "run")]) == 1
    said, folder = capsys.readouterr().err.strip().splitlines()[-1], tmp_path / "runs" / "run"
    assert f"{folder}: this folder was moved or removed as it was trained in; stopped at step 4" in said
    assert not folder.exists()


def test_a_checkpoint_waits_for_the_validation_that_is_due(midi_folder, tmp_path, monkeypatch):
    """A run that is killed in between is the uninterrupted one all the same; one that validates each step saves too."""
    monkeypatch.setattr(KeepCheckpoints.__init__, "__defaults__", (False, 0.0))
    saved, save = [], KeepCheckpoints.save

    def note(self, trainer):
        saved.append(trainer.global_step)
        return save(self, trainer)

    monkeypatch.setattr(KeepCheckpoints, "save", note)
    fit(midi_folder, tmp_path, "run", "--trainer.max_steps=5", "--trainer.val_check_interval=3")
    assert saved == [1, 2, 4, 5]
    saved.clear()
    fit(midi_folder, tmp_path, "each", "--trainer.max_steps=4", "--trainer.val_check_interval=1")
    assert saved == [2, 4, 4]


class Killed(BaseException):
    """What ends a run at once."""


@pytest.mark.parametrize("step", [2, 3, 4])
def test_a_run_that_is_killed_after_a_checkpoint_is_the_uninterrupted_one(midi_folder, tmp_path, monkeypatch, step):
    """Its metrics too: those of a step are logged before its checkpoint is written."""
    monkeypatch.setattr(KeepCheckpoints.__init__, "__defaults__", (False, 0.0))
    whole = fit(midi_folder, tmp_path, "whole", "--trainer.max_steps=6", "--trainer.val_check_interval=3")
    save = KeepCheckpoints.save

    def killed(self, trainer):
        save(self, trainer)
        if trainer.global_step >= step:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(KeepCheckpoints, "save", killed)
        with pytest.raises(Killed):
            fit(midi_folder, tmp_path, "run", "--trainer.max_steps=6", "--trainer.val_check_interval=3")
    run = run_lightning("fit", resumed_config(tmp_path / "run")).run_folder
    assert read_metrics(run) == read_metrics(whole)
    assert load_bundle(run).hash() == load_bundle(whole).hash()
    assert (run / "progress.csv").read_bytes() == (whole / "progress.csv").read_bytes()
    assert len((whole / "metrics.csv").read_text().splitlines()) == 1 + 6  # a row a step
    expected = weights(whole)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(run).items())


def test_a_part_of_a_run_that_cannot_be_written_stops_it_before_its_first_step(run, capsys, monkeypatch):
    touch = Path.touch

    def refuse(self, *args, **kwargs):  # root may write anywhere
        if self.parent.name == "model":
            raise PermissionError(13, "Permission denied", str(self))
        touch(self, *args, **kwargs)

    monkeypatch.setattr(Path, "touch", refuse)
    monkeypatch.setattr(GPTModule, "training_step", lambda *args: pytest.fail("a step was made"))
    assert main(["fit", *resume_words(run), "--trainer.max_steps=6"]) == 1
    assert f"{run / 'model'}: cannot write there (Permission denied)" in capsys.readouterr().err


HOLD = """
import sys
from pathlib import Path
from helicon.formats.folder_lock import FolderLock
from helicon.formats.temporary import temporary_path
folder = Path(sys.argv[1])
lock = FolderLock(folder)
lock.acquire()
temporary_path(folder / "model.safetensors").write_bytes(b"half of it")
temporary_path(folder / "tree").mkdir()
print(flush=True)
input()
"""


def test_one_process_at_a_time_and_what_a_killed_one_leaves(run, capsys):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert holder.stdout
    assert holder.stdin
    holder.stdout.readline()
    before = files(run)
    assert main(["fit", *resume_words(run), "--trainer.max_steps=6"]) == 1
    assert f"{run}: another training is writing to this folder" in capsys.readouterr().err
    assert clear_abandoned(run) == []
    assert files(run) == before
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    ours, theirs = temporary_path(run / "a.json"), run / ".somebody-elses.safetensors"
    for path in (ours, theirs):
        path.write_text("")
    run_lightning("fit", [*resume_words(run), "--trainer.max_steps=6"])
    assert set(run.rglob(".*")) == {ours, theirs}


@pytest.mark.parametrize("name", UNUSED)
def test_options_that_would_do_nothing_are_refused_by_name(name):
    values = {
        "use_distributed_sampler": "false", "model_registry": "here", "limit_predict_batches": "2",
        "check_val_every_n_epoch": "2", "reload_dataloaders_every_n_epochs": "2",
    }  # fmt: skip
    words = ["--config=text", "--data.path=nowhere", f"--trainer.{name}={values.get(name, 'true')}"]
    with pytest.raises(UsageError, match=rf"^--trainer\.{name} \S+ would have no effect: "):
        HeliconCLI("fit", words)


@pytest.mark.parametrize("word", ["--seed_everything=3", "--seed_everything=0", "--weights_only=true"])
def test_options_of_the_command_line_that_would_do_nothing(word):
    with pytest.raises(UsageError, match=f"{word.partition('=')[0]} would have no effect: "):
        HeliconCLI("fit", ["--config=text", "--data.path=nowhere", word])


def test_options_that_say_what_is_done_anyway_are_accepted():
    words = ["--trainer.gradient_clip_algorithm=norm", "--trainer.max_epochs=-1", "--trainer.logger=false"]
    callback = '--trainer.callbacks={"class_path": "EarlyStopping", "init_args": {"monitor": "val/loss"}}'
    cli = HeliconCLI("fit", ["--config=text", "--data.path=nowhere", *words, callback])
    assert any(type(one).__name__ == "EarlyStopping" for one in cli.trainer.callbacks)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("val_check_interval=0", "interval 0: a number from 1e-06"), ("gradient_clip_val=.nan", "nan: a number"),
        ("max_steps=1" + 30 * "0", "max_steps 1000000"), ("overfit_batches=-1", "overfit_batches -1: a number from 0"),
        ("devices=2,", "devices is refused by Lightning"), ("max_time=" + 999 * "x", "refused by Lightning: `Timer"),
    ],
)  # fmt: skip
def test_odd_values_of_the_trainer_are_refused_in_one_line(tmp_path, word, said):
    """The config that says the same is not named: what is typed is what counts."""
    config = tmp_path / "mine.yaml"
    config.write_text("trainer:\n  accelerator: cpu\n  max_steps: 3\n  devices: 1\n")
    with pytest.raises(UsageError, match=rf"^--trainer\b.*{said}") as caught:
        run_lightning("fit", ["--config=text", f"--config={config}", "--data.path=nowhere", f"--trainer.{word}"])
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 400
    assert "time" in word or "mine.yaml" not in text


def test_an_odd_value_of_a_config_names_its_line(tmp_path):
    config = tmp_path / "mine.yaml"
    config.write_text("trainer:\n  accelerator: cpu\n  devices: '2,'\n")
    with pytest.raises(UsageError, match=rf"^--trainer\.devices is refused .* \({config}, line 3\)$"):
        run_lightning("fit", ["--config=text", f"--config={config}", "--data.path=nowhere"])


@pytest.mark.parametrize("option", ["model.lr", "model.dropout", "data.val_split", "data.condition_dropout"])
def test_a_value_that_is_no_number_names_its_line(tmp_path, option):
    group, name = option.split(".")
    config = tmp_path / "mine.yaml"
    config.write_text(f"{group}:\n  {name}: .nan\n")
    with pytest.raises(UsageError, match=rf"^--{option} nan: finite numbers are accepted \({config}, line 2\)$"):
        run_lightning("fit", ["--config=text", f"--config={config}", "--data.path=nowhere"])
