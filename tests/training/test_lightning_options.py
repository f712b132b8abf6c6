"""Options of Lightning's as its users know them: each does what it says, or is refused by name."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from pytorch_lightning.loggers import CSVLogger
from training_runs import arguments, fit, signalled_at, weights

from helicon.cli import main
from helicon.training.learning.keeping import KeepCheckpoints
from helicon.training.learning.validating import validation_is_due
from helicon.training.resuming import resumed_config
from helicon.training.run import HeliconCLI, run_lightning
from helicon.training.runs.metrics import read_metrics
from helicon.training.runs.record import read_record
from helicon.training.stopping import Interrupted

FEW = ("--model.layers=1", "--data.val_batches=1")


def steps(run: Path) -> int:
    """Optimizer steps of a run."""
    return read_record(run).steps


def last_line(capsys: pytest.CaptureFixture[str], status: tuple[int, ...], *words: str) -> str:
    """What a command ends with."""
    assert main(list(words)) in status
    return capsys.readouterr().err.strip().splitlines()[-1]


# Six tokens are one window, and a batch an epoch
@pytest.mark.parametrize(("epochs", "accumulate", "expected"), [(2, 1, 2), (3, 2, 2)])
def test_max_epochs_ends_a_run(tmp_path, capsys, epochs, accumulate, expected):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("hello")
    run = fit(
        tmp_path / "data", tmp_path, "run", "--data.layouts=[text]", "--data.tokenizers={text: bytes}",
        "--model.slot_weights={}", "--trainer.max_steps=-1",
        f"--trainer.max_epochs={epochs}", f"--trainer.accumulate_grad_batches={accumulate}",
    )  # fmt: skip
    assert steps(run) == expected
    assert f"epoch {epochs:.1f} of {epochs}" in capsys.readouterr().err


def test_an_epoch_is_as_many_batches_as_all_windows_take(midi_folder, tmp_path, capsys):
    run = fit(midi_folder, tmp_path, "run", *FEW, "--trainer.max_steps=-1", "--trainer.max_epochs=2",
              "--trainer.val_check_interval=0.5")  # fmt: skip
    data = HeliconCLI("fit", resumed_config(run)).datamodule
    data.trainer = type("", (), {"world_size": 1, "global_rank": 0})
    data.prepare_data()
    data.setup("fit")
    windows = [len(stream.windows.pieces) for stream in data.batches.streams]
    epoch = data.batches.epoch
    seen = [len(data.batches.streams[0].rows(t)) for t in range(epoch)]
    assert sum(seen[:-1]) <= windows[0] + max(seen)
    assert sum(seen) >= windows[0] - max(seen)
    assert steps(run) == 2 * epoch
    half = round(epoch / 2)
    assert read_metrics(run)["val/loss"][0] == [half - 1, 2 * half - 1, 3 * half - 1, 4 * half - 1]


def test_steps_end_a_run_before_its_epochs_and_epochs_its_steps(midi_folder, tmp_path):
    assert steps(fit(midi_folder, tmp_path, "steps", *FEW, "--trainer.max_epochs=999", "--trainer.max_steps=3")) == 3
    few = ("--trainer.limit_train_batches=2", "--trainer.max_epochs=2")
    assert steps(fit(midi_folder, tmp_path, "epochs", *FEW, *few)) == 4


def test_min_epochs_holds_what_would_stop_a_run(midi_folder, tmp_path):
    stop = ("--trainer.callbacks=EarlyStopping", "--trainer.callbacks.monitor=val/loss",
            "--trainer.callbacks.stopping_threshold=1000", "--trainer.val_check_interval=2")  # fmt: skip
    assert steps(fit(midi_folder, tmp_path, "short", *FEW, *stop)) == 2
    assert steps(fit(midi_folder, tmp_path, "long", *FEW, *stop, "--trainer.min_epochs=1")) > 2


def test_batches_are_limited(midi_folder, tmp_path):
    """Lightning's epochs are of so many batches, or of a share of the windows; a run goes on through them all."""
    whole = fit(midi_folder, tmp_path, "whole", *FEW, "--trainer.limit_val_batches=0")
    few = fit(midi_folder, tmp_path, "few", *FEW, "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1")
    share = fit(midi_folder, tmp_path, "share", "--model.layers=1", "--trainer.limit_train_batches=0.5",
                "--trainer.limit_val_batches=0.5", "--trainer.max_steps=-1", "--trainer.max_epochs=1")  # fmt: skip
    assert read_metrics(few)["train/music"] == read_metrics(whole)["train/music"]
    assert "val/loss" not in read_metrics(whole)
    assert 0 < steps(share) < 12


def test_the_same_batches_over_and_over(midi_folder, tmp_path):
    run = fit(midi_folder, tmp_path, "run", *FEW, "--trainer.overfit_batches=2", "--model.lr=0", "--model.dropout=0")
    losses = read_metrics(run)["train/music"][1]
    assert len(losses) == 12
    assert len(set(losses)) == 2
    assert losses[::2] == [losses[0]] * 6


@pytest.mark.parametrize(
    ("limit", "step"), [("limit_train_batches=3", 1), ("overfit_batches=3", 2), ("limit_train_batches=3", 3)]
)
def test_a_run_of_lightnings_epochs_is_resumed_to_the_bit(midi_folder, tmp_path, limit, step):
    """Stopped within an epoch, at its end, at the beginning of the next."""
    more = (*FEW, f"--trainer.{limit}", "--trainer.max_steps=8", "--model.dropout=0.1")
    whole = fit(midi_folder, tmp_path, "whole", *more)
    with signalled_at(step), pytest.raises(Interrupted):
        fit(midi_folder, tmp_path, "stopped", *more)
    stopped = run_lightning("fit", resumed_config(tmp_path / "stopped")).run_folder
    expected = weights(whole)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(stopped).items())
    assert read_metrics(stopped) == read_metrics(whole)


def test_a_fast_run_of_development_writes_nothing(midi_folder, tmp_path, capsys):
    words = arguments(midi_folder, tmp_path, "run", *FEW, "--trainer.fast_dev_run=2")
    assert main(["fit", *words]) == 0
    assert not (tmp_path / "run").exists()
    assert "fast_dev_run" in capsys.readouterr().err
    line = last_line(capsys, (1, 2), "train", "music", str(midi_folder), "--trainer.fast_dev_run", "true")
    assert "--trainer.fast_dev_run would have no effect in train" in line


def test_a_profile_is_printed_or_written(midi_folder, tmp_path, capsys):
    for kind in ("simple", "advanced"):
        fit(midi_folder, tmp_path, kind, *FEW, "--trainer.max_steps=1", f"--trainer.profiler={kind}")
        assert "run_training_batch" in capsys.readouterr().err
    into = (
        "--trainer.profiler=SimpleProfiler",
        f"--trainer.profiler.dirpath={tmp_path}",
        "--trainer.profiler.filename=found",
    )
    fit(midi_folder, tmp_path, "file", *FEW, "--trainer.max_steps=1", *into)
    assert "run_training_batch" in next(tmp_path.glob("fit-found*.txt")).read_text()
    assert "run_training_batch" not in capsys.readouterr().err


def test_gradients_are_clipped_by_their_values(midi_folder, tmp_path):
    more = (*FEW, "--trainer.max_steps=2", "--trainer.gradient_clip_val=0.001", "--model.optimizer=adamw")
    norm, value = (
        weights(fit(midi_folder, tmp_path, kind, *more, f"--trainer.gradient_clip_algorithm={kind}"))
        for kind in ("norm", "value")
    )
    assert not torch.equal(norm["network.gpt.tokens.weight"], value["network.gpt.tokens.weight"])


def test_a_validation_is_due_when_lightning_says_so(midi_folder, tmp_path, monkeypatch):
    """What is said by public members alone is what Lightning decides by its own."""
    seen = []

    def on_train_batch_end(self, trainer, *args, **kwargs):
        loop = trainer.fit_loop
        seen.append((validation_is_due(trainer), loop.epoch_loop._should_check_val_fx(loop._data_fetcher)))

    monkeypatch.setattr(KeepCheckpoints, "on_train_batch_end", on_train_batch_end)
    more = ("val_check_interval=5", "limit_train_batches=4", "limit_val_batches=0", "val_check_interval=00:00:00:00")
    for number, option in enumerate(more):
        words = ("--trainer.accumulate_grad_batches=2", "--trainer.max_steps=6", f"--trainer.{option}")
        fit(midi_folder, tmp_path, str(number), *FEW, *words)
    assert {due for due, _ in seen} == {True, False}
    assert all(due == lightnings for due, lightnings in seen)


class Noted(CSVLogger):
    """A logger that is known by what it is told."""

    told: ClassVar[list] = []

    def log_hyperparams(self, params):  # type: ignore[override]
        self.told.append(params)
        super().log_hyperparams(params)


def test_loggers_of_the_user_stand_beside_ours(midi_folder, tmp_path):
    loggers = ["--trainer.logger+=TensorBoardLogger", f"--trainer.logger.save_dir={tmp_path / 'board'}",
               f"--trainer.logger+={__name__}.Noted", f"--trainer.logger.save_dir={tmp_path / 'csv'}"]  # fmt: skip
    Noted.told.clear()
    run = fit(midi_folder, tmp_path, "run", *FEW, "--trainer.max_steps=3", *loggers)
    assert len(read_metrics(run)["train/music"][0]) == 3
    assert list((tmp_path / "board").rglob("events.out.tfevents.*"))
    (csv,) = (tmp_path / "csv").rglob("metrics.csv")
    assert len(csv.read_text().splitlines()) >= 4
    assert [params["model"]["layers"] for params in Noted.told] == [1]


def test_weights_and_biases_offline(midi_folder, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    logger = ["--trainer.logger=WandbLogger", f"--trainer.logger.save_dir={tmp_path}", "--trainer.logger.offline=true"]
    run = fit(midi_folder, tmp_path, "run", *FEW, "--trainer.max_steps=3", *logger)
    assert len(read_metrics(run)["train/music"][0]) == 3
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


def test_mlflow_in_a_folder(midi_folder, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # kept, but no longer recommended by mlflow
    place = (tmp_path / "mlflow").as_uri()
    logger = ["--trainer.logger=MLFlowLogger", f"--trainer.logger.tracking_uri={place}"]
    fit(midi_folder, tmp_path, "run", *FEW, "--trainer.max_steps=3", *logger)
    client = mlflow.tracking.MlflowClient(place)
    (experiment,) = (each for each in client.search_experiments() if each.name == "lightning_logs")
    (kept,) = client.search_runs([experiment.experiment_id])
    assert len(client.get_metric_history(kept.info.run_id, "train/music")) == 3
    assert kept.data.params["model/layers"] == "1"


def test_lightnings_checkpoints_go_where_it_is_told(midi_folder, tmp_path):
    more = ("--trainer.enable_checkpointing=true", f"--trainer.default_root_dir={tmp_path / 'root'}")
    run = fit(midi_folder, tmp_path, "run", *FEW, "--trainer.max_steps=1", *more)
    assert list((tmp_path / "root" / "lightning" / "checkpoints").glob("*.ckpt"))
    assert not (run / "lightning").exists()


def test_a_logger_that_is_true_is_tensorboard_in_the_run(midi_folder, tmp_path):
    run = fit(midi_folder, tmp_path, "run", *FEW, "--trainer.max_steps=1", "--trainer.logger=true")
    assert list((run / "tensorboard").glob("events.out.tfevents.*"))


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--trainer.logger=Nix", "--trainer.logger: Expected a dot import path string: Nix"),
        ("--trainer.logger=CSVLogger", "--trainer.logger: the following arguments are required: save_dir"),
        ("--trainer.callbacks+=nowhere.Mine", "No module named 'nowhere'"),
        ("--trainer.check_val_every_n_epoch=2", "--trainer.val_check_interval 1.0"),
        ("--trainer.gradient_clip_algorithm=best", "gradient_clip_algorithm"),
    ],
)
def test_what_cannot_be_is_one_line(midi_folder, tmp_path, capsys, option, said):
    assert said in last_line(capsys, (1, 2), "fit", *arguments(midi_folder, tmp_path, "run", option))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("logger", "package"), [("WandbLogger", "wandb"), ("MLFlowLogger", "mlflow"), ("CometLogger", "comet_ml")]
)
def test_a_logger_that_is_not_installed_names_its_package(midi_folder, tmp_path, capsys, logger, package):
    if find_spec(package) is not None:
        pytest.skip(f"{package} is installed")
    line = last_line(capsys, (1, 2), "fit", *arguments(midi_folder, tmp_path, "run", f"--trainer.logger={logger}"))
    assert f"pip install -U '{package.replace('_', '-')}" in line
    assert not (tmp_path / "run").exists()


def test_tensorboard_that_is_not_installed(midi_folder, tmp_path, capsys, monkeypatch):
    for name in ("_TENSORBOARD_AVAILABLE", "_TENSORBOARDX_AVAILABLE"):
        monkeypatch.setattr(f"lightning_fabric.loggers.tensorboard.{name}", False)
    named = f"{{class_path: TensorBoardLogger, init_args: {{save_dir: {tmp_path}}}}}"
    for logger in ("--trainer.logger=true", f"--trainer.logger={named}"):
        line = last_line(capsys, (1, 2), "fit", *arguments(midi_folder, tmp_path, "run", logger))
        assert "Neither `tensorboard` nor `tensorboardX` is available" in line
