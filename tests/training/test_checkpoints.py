"""Checkpoints are written whole or not at all, and reading one never runs code."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from training_runs import arguments, fit, resume_words, weights

from helicon.cli import main
from helicon.training.errors import TrainingError
from helicon.training.learning.module import GPTModule
from helicon.training.runs.checkpoints import AtomicCheckpointIO, read_checkpoint
from helicon.training.runs.folders import RunFolder, check_writable


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self):
        return os.mkdir, (str(self.made),)


@pytest.mark.parametrize("write", [torch.save, lambda thing, path: path.write_bytes(pickle.dumps(thing))])
def test_a_pickle_payload_is_refused_and_nothing_runs(tmp_path, midi_folder, capsys, write):
    path, made = tmp_path / "evil.ckpt", tmp_path / "made"
    write({"state_dict": {}, "payload": Payload(made)}, path)
    with pytest.raises(TrainingError, match=r"evil\.ckpt: refused") as caught:
        read_checkpoint(path)
    assert "\n" not in str(caught.value)
    for command in ("fit", "validate", "test"):
        where = ["--runs", str(tmp_path)] if command == "fit" else []
        args = ["--config", "music", "--data.path", str(midi_folder), "--ckpt_path", str(path), *where]
        assert main([command, *args]) == 1
        assert f"{path}: refused" in capsys.readouterr().err
    assert not made.exists()
    assert sorted(os.listdir(tmp_path)) == ["evil.ckpt"]


def test_hyperparameters_that_name_code_are_refused(tmp_path):
    path = tmp_path / "old.ckpt"
    torch.save({"state_dict": {}, "hyper_parameters": {"_instantiator": "os.system"}}, path)
    with pytest.raises(TrainingError, match="refused, its hyperparameters name code"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "damaged"), (b"PK\x03\x04 no zip", "damaged"), (b"\x80\x04K\x01.", "damaged"), (None, "no such checkpoint")],
)
def test_what_is_no_checkpoint_is_said_in_one_line(tmp_path, content, said):
    path = tmp_path / "a.ckpt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TrainingError, match=said) as caught:
        read_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [0.01, 0.3, 0.9, 0.999])
def test_every_truncation_is_noticed(tmp_path, cut):
    path = tmp_path / "a.ckpt"
    AtomicCheckpointIO().save_checkpoint({"state_dict": {"w": torch.arange(5000)}}, path)
    assert torch.equal(read_checkpoint(path)["state_dict"]["w"], torch.arange(5000))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * cut)])
    with pytest.raises(TrainingError):
        read_checkpoint(path)


def test_a_full_disk_leaves_the_checkpoint_as_it_was(midi_folder, tmp_path, capsys, monkeypatch):
    run = fit(midi_folder, tmp_path, "run", "--trainer.max_steps=4")
    before = files(run / "checkpoints")

    def save(thing, file):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("helicon.training.runs.checkpoints.torch.save", save)
    last = run / "checkpoints" / "last.ckpt"
    args = [*resume_words(run), "--trainer.max_steps=6"]
    assert main(["fit", *args]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"{run / 'checkpoints' / 'next.ckpt'}: could not be written (No space left on device)" in said
    assert f"{last} is intact: free some space, then helicon train --resume {run}" in said
    assert files(run / "checkpoints") == before
    assert main(["fit", *arguments(midi_folder, tmp_path, "first")]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "no checkpoint was saved before: free some space and start again" in said


@pytest.mark.parametrize("name", ["metrics.csv", "config.yaml", "bundle.json", "model.safetensors", "progress.csv"])
def test_a_full_disk_is_said_with_the_file_that_did_not_fit(midi_folder, tmp_path, capsys, monkeypatch, name):
    write, write_text = Path.write_bytes, Path.open

    def full(self, data):
        if self.suffix == Path(name).suffix and self.name.startswith(f".{Path(name).stem}"):
            raise OSError(28, "No space left on device")
        return write(self, data)

    def full_too(self, mode="r", *args, **kwargs):
        if self.name == name and set(mode) & set("a+"):
            raise OSError(28, "No space left on device")
        return write_text(self, mode, *args, **kwargs)

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(Path, "open", full_too)
    assert main(["fit", *arguments(midi_folder, tmp_path, "run", "--trainer.max_steps=1")]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"{name}: could not be written (No space left on device); " in said
    assert str(tmp_path / "run") in said
    assert not list((tmp_path / "run").rglob(".*"))


def test_a_run_that_has_something_in_it_is_never_written_over(midi_folder, tmp_path, capsys):
    run = fit(midi_folder, tmp_path, "run", "--trainer.max_steps=2")
    before = files(run)
    assert main(["fit", *arguments(midi_folder, tmp_path, "run")]) == 1
    assert f"{run} has something in it" in capsys.readouterr().err
    assert files(run) == before
    named = [word for word in arguments(midi_folder, tmp_path, "x") if word not in ("--name", "x")]
    assert main(["fit", *named, "--trainer.max_steps=1"]) == 0
    assert main(["fit", *named, "--trainer.max_steps=1"]) == 0
    assert sorted(os.listdir(tmp_path)) == ["music-1", "music-2", "run"]
    assert files(run) == before


def test_a_folder_that_cannot_be_written_stops_the_run_before_its_first_step(
    midi_folder, tmp_path, capsys, monkeypatch
):
    def touch(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "touch", touch)  # root may write anywhere
    monkeypatch.setattr(GPTModule, "training_step", lambda *args: pytest.fail("a step was made"))
    assert main(["fit", *arguments(midi_folder, tmp_path, "run")]) == 1
    assert f"{tmp_path / 'run'}: cannot write there (Permission denied)" in capsys.readouterr().err


def test_a_file_in_the_place_of_the_run_folder(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(TrainingError, match="cannot write there"):
        check_writable(tmp_path / "run")


def test_a_held_out_loss_that_is_no_number_stops_before_samples_are_made(midi_folder, tmp_path, capsys):
    options = ("--model.lr=1e30", "--model.warmup=0", "--trainer.val_check_interval=1", "--samples=true")
    assert main(["fit", *arguments(midi_folder, tmp_path, "run", *options)]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("helicon: validation loss is ")
    assert "at step 1: training stops, what was saved before is kept" in said


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(midi_folder, tmp_path, capsys, monkeypatch, what):
    monkeypatch.setattr("helicon.training.learning.keeping.KeepCheckpoints.__init__.__defaults__", (0.0,))
    step = GPTModule.training_step

    def training_step(self: GPTModule, batch, batch_idx):
        if self.global_step == 5:
            assert self.gpt is not None
            if what == "loss":
                self.gpt.norm.weight.data.fill_(float("nan"))
            else:
                self.gpt.norm.weight.register_hook(lambda grad: grad * float("inf"))
        return step(self, batch, batch_idx)

    monkeypatch.setattr(GPTModule, "training_step", training_step)
    assert main(["fit", *arguments(midi_folder, tmp_path, "run")]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"{what if what == 'loss' else 'gradient norm'} is" in said
    assert "at step 5, batch 5" in said
    assert read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")["global_step"] == 5
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path / "run").values())


def test_a_folder_that_another_training_took_meanwhile_is_left_alone(tmp_path):
    """Two that start together choose the same name; the second finds out when it begins."""
    (tmp_path / "config.yaml").write_text("theirs")
    trainer = SimpleNamespace(is_global_zero=True)
    with pytest.raises(TrainingError, match="another training has taken this folder"):
        RunFolder(tmp_path, lambda: "ours", resuming=False).setup(trainer, None, "fit")
    assert (tmp_path / "config.yaml").read_text() == "theirs"
    RunFolder(tmp_path / "free", lambda: "ours", resuming=False).setup(trainer, None, "fit")
    assert (tmp_path / "free" / "config.yaml").read_text() == "ours"
