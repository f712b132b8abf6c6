"""A run that was limited by the clock, made once more by its steps, is the same run."""

from __future__ import annotations

import shutil

import pytest
import torch
from training_runs import MINUTES, fit, jumping_clock, resume_words, signalled_at, weights

from helicon.bundle.storage import load_bundle
from helicon.cli import main
from helicon.training.errors import TrainingError
from helicon.training.learning.module import GPTModule
from helicon.training.resuming import repeated_config, resumed_config
from helicon.training.run import run_lightning
from helicon.training.runs.checkpoints import read_checkpoint
from helicon.training.runs.metrics import read_metrics
from helicon.training.runs.record import ProgressRecord, read_record
from helicon.training.stopping import Interrupted

LIMITS = (*MINUTES, "--data.val_batches=1", "--model.layers=1")


def test_a_run_by_minutes_is_repeated_to_the_bit(midi_folder, tmp_path, monkeypatch):
    """One that was stopped and resumed on the way, with validations and samples whenever the clock said so."""
    # Samples take time and draw noise
    monkeypatch.setattr(GPTModule, "write_samples", lambda self, path: (self.eval(), torch.rand(3)))
    jumping_clock(monkeypatch, 0.25)
    with signalled_at(3), pytest.raises(Interrupted):
        fit(midi_folder, tmp_path, "timed", *LIMITS, "--samples=true")
    run = run_lightning("fit", resumed_config(tmp_path / "timed")).run_folder
    record = read_record(run)
    assert record.steps > 5
    assert len(record.validations) > 1
    jumping_clock(monkeypatch, 0.5)
    other = fit(midi_folder, tmp_path, "other", *LIMITS)
    assert not torch.equal(*(weights(path)["network.gpt.tokens.weight"][0] for path in (run, other)))

    jumping_clock(monkeypatch, 3.0)
    repeated = run_lightning("fit", repeated_config(run)).run_folder
    assert repeated == tmp_path / "timed-repeat-1"
    assert read_record(repeated) == record
    expected = weights(run)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(repeated).items())
    assert load_bundle(repeated).hash() == load_bundle(run).hash()
    assert read_metrics(repeated) == read_metrics(run)
    # Stopped on the way, and from what it has itself
    shutil.rmtree(run / "checkpoints")
    with signalled_at(2), pytest.raises(Interrupted):
        run_lightning("fit", repeated_config(run, name="again"))
    run.rename(tmp_path / "gone")
    again = run_lightning("fit", resumed_config(tmp_path / "again")).run_folder
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(again).items())
    assert read_record(again) == record


def test_a_branch_is_repeated_only_from_what_it_began_from(midi_folder, tmp_path):
    base = fit(midi_folder, tmp_path, "base", "--trainer.max_steps=2", "--model.layers=1")
    checkpoint = base / "checkpoints" / "last.ckpt"
    more = ("--model.layers=1", f"--ckpt_path={checkpoint}")
    branch = fit(midi_folder, tmp_path, "branch", "--trainer.max_steps=4", *more)
    same = run_lightning("fit", repeated_config(branch)).run_folder
    assert load_bundle(same).hash() == load_bundle(branch).hash()
    fit(midi_folder, tmp_path, "base", "--trainer.max_steps=6", *more)  # it goes on, and its checkpoint with it
    with pytest.raises(TrainingError, match="has changed since the run that is repeated began from it"):
        run_lightning("fit", repeated_config(branch))


def test_what_is_typed_beside_a_run_is_on_record(midi_folder, tmp_path):
    """Longer, or elsewhere, it is the same run; of other options its config knows nothing."""
    run = fit(midi_folder, tmp_path, "run", "--trainer.max_steps=1", "--model.layers=1")
    resume = lambda *words: run_lightning("fit", resumed_config(run, words))  # noqa: E731
    resume("--trainer.max_steps=2", "--data.workers=0")
    assert repeated_config(run)["trainer"]["max_steps"] == 2
    resume("--trainer.max_steps=3", "--model.dropout=0.4", "--data.batch_size=2")
    assert (run / "changes.txt").read_text() == "data.batch_size, model.dropout from step 2 on\n"
    with pytest.raises(
        TrainingError, match=r"changes\.txt: gone on with a change of data.batch_size, model.dropout from"
    ):
        repeated_config(run)
    words = ["--config", str(run / "config.yaml"), "--runs", str(tmp_path), "--repeat", str(run)]
    with pytest.raises(TrainingError, match="so its config would make another run"):
        run_lightning("fit", words)
    (run / "changes.txt").write_bytes(b"\x1b[2J" * 10_000)
    with pytest.raises(TrainingError) as caught:
        repeated_config(run)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400 + len(str(run))


@pytest.mark.parametrize(
    ("lost", "said"), [("record", "no record of its progress"), ("SequenceData", "no state of the data")]
)
def test_a_checkpoint_of_another_format_is_refused(midi_folder, tmp_path, lost, said):
    """What it lacks is not made up: neither the progress that rates followed, nor tokenizers that are fitted anew."""
    run = fit(midi_folder, tmp_path, "run", "--trainer.max_steps=1", "--model.layers=1")
    path = run / "checkpoints" / "last.ckpt"
    checkpoint = read_checkpoint(path)
    del checkpoint[lost]
    torch.save(checkpoint, path)
    before = path.read_bytes()
    with pytest.raises(TrainingError, match=rf"last\.ckpt: .*{said}"):
        run_lightning("fit", [*resume_words(run), "--trainer.max_steps=2"])
    assert path.read_bytes() == before


def test_the_command_line_repeats_a_run_beside_it(midi_folder, tmp_path, capsys, monkeypatch):
    shown = []
    monkeypatch.setattr("helicon.commands.train.show", lambda run, *rest: shown.append(run))
    run = fit(midi_folder, tmp_path, "run", "--trainer.max_steps=2")
    for words, refusal in [
        (["music", str(midi_folder)], "leave out TASK"), (["--minutes", "3"], "leave out --minutes"),
        (["--trainer.max_steps", "3"], "takes no --trainer.max_steps"), (["--resume", str(run)], "leave out --repeat"),
        (["--name", "run"], "has something in it"),
    ]:  # fmt: skip
        assert main(["train", "--repeat", str(run), *words]) in (1, 2)
        assert refusal in capsys.readouterr().err
    assert main(["train", "--repeat", str(run), "--name", "twin", "--data.workers=1"]) == 0
    expected = weights(run)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(tmp_path / "twin").items())
    assert shown == [tmp_path / "twin"]


def test_a_record_comes_back_as_it_was(tmp_path):
    record = ProgressRecord([0.0, 1 / 3, 0.7, 1.0], [1, 3])
    record.write(tmp_path)
    assert read_record(tmp_path) == record == ProgressRecord.from_state(record.state())
    assert record.steps == 3


@pytest.mark.parametrize(
    "text",
    ["", "step,progress\n", "step,progress,validated\n", "step,progress,validated\n1,0.5,0\n",
     "step,progress,validated\n0,nan,0\n", "step,progress,validated\n0,1.5,0\n", "step,progress,validated\n0,0.5,2\n",
     "step,progress,validated\n0,0.5,0", "step,progress,validated\n0," + "0" * 100 + ",0\n"],
)  # fmt: skip
def test_what_is_no_record_is_refused(tmp_path, text):
    (tmp_path / "progress.csv").write_text(text)
    with pytest.raises(TrainingError, match=r"progress\.csv: "):
        read_record(tmp_path)
