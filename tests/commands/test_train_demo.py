"""The front door and the demo, in miniature."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from helicon.bundle.storage import load_bundle
from helicon.cli import main
from helicon.commands.train import eval_command
from helicon.data.entries import Origin
from helicon.demos import music
from helicon.demos.composer import write_folder
from helicon.pages import model_page
from helicon.training.plan_config import format_duration
from helicon.training.runs.metrics import read_metrics


@pytest.fixture(autouse=True)
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short items, a cache of one's own, and a folder to work in."""
    monkeypatch.setattr(model_page, "SECONDS", 1.0)
    monkeypatch.setattr(model_page, "ITEMS", 1)
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_the_command_that_measures_knows_what_was_held_out():
    origin = Origin(name="x", path=Path("x"))
    assert eval_command(Path("a run"), origin) == "helicon eval 'a run' --data.path x --validation"
    listed = replace(origin, manifest=Path("y.csv"))
    assert eval_command(Path("r"), listed).endswith("--validation --data.manifest y.csv")


SHAPE = ["--model.layers", "1", "--model.width", "32", "--model.heads", "2", "--model.context", "64"]
SHAPE += ["--data.batch_size", "2", "--samples", "false"]


def test_a_folder_becomes_a_run_with_a_page_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_folder(tmp_path / "pieces", 5, seed=1)
    (tmp_path / "pieces" / "broken.mid").write_bytes(b"not MIDI")
    assert main(["train", "music", "pieces", "--minutes", "0.05", "--name", "first", *SHAPE]) == 0
    said = capsys.readouterr().err
    for word in (
        "5 read, 1 skipped",
        "broken.mid",
        "size       tiny",
        "helicon fit --config runs/first/config.yaml",
        "helicon generate",
    ):
        assert word in said
    run = tmp_path / "runs" / "first"
    assert "<audio" in (run / "index.html").read_text()
    assert (run / "generated" / "0" / "000.mid").is_file()
    last = max(read_metrics(run)["val/music"][0])

    more = ["--minutes", "2", "--trainer.max_steps", str(int(last) + 5)]  # a busy machine may have used up any minutes
    assert main(["train", "--resume", "runs/first", *more]) == 0
    assert max(read_metrics(run)["val/music"][0]) > last

    capsys.readouterr()
    assert main(["train", "--resume", "runs/first", "--model.lr", "1"]) == 2
    assert "--model.lr would have no effect: --resume runs/first goes on" in capsys.readouterr().err

    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    assert main(["train", "music", "pieces", "--name", "first", *SHAPE]) == 1
    assert "has something in it" in capsys.readouterr().err
    assert before == {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}

    (tmp_path / "songs" / "mine").mkdir(parents=True)
    (tmp_path / "pieces" / "duet" / "duet-0001.mid").rename(tmp_path / "songs" / "mine" / "a.mid")
    tuning = ["--samples", "false", "--data.batch_size", "2"]
    assert (
        main(["train", "music", "songs", "--from", "runs/first", "--minutes", "0.02", "--name", "tuned", *tuning]) == 0
    )
    tuned, first = load_bundle(tmp_path / "runs" / "tuned"), load_bundle(run)
    assert tuned.gpt.config == first.gpt.config
    assert "mine" in tuned.sequencer.tokenizers["style"].block.tokens
    assert tuned.sequencer.tokenizers["music"].block == first.sequencer.tokenizers["music"].block


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["musik", "empty"], "nearest: music"),
        (["music", "nowhere"], "no such file or folder"),
        (["music", "empty"], "accepted suffixes"),
        (["music", "empty", "--size", "smal"], "nearest: small"),
        (["music", "empty", "--minutes", "0"], "minutes 0.0: a number from 1e-06"),
        (["music", "empty", "--minutes", "-1"], "minutes -1.0: a number from 1e-06"),
        (["music", "nowhere", "--minutes", "nan"], "minutes nan: a number from 1e-06"),
        (["music", "nowhere", "--seed", "-1"], "seed -1: a whole number from 0"),
        (["--resume", "nowhere", "--minutes", "inf"], "minutes inf: a number from 1e-06"),
        (["music", "empty", "--minutes", "1", "--trainer.max_time=00:00:09:00"], "leave one of them out"),
        (["music", "empty", "--trainer.max_step", "3"], "--trainer.max_steps"),
        (["music", "empty", "--from", "nowhere"], "no such run or bundle"),
        (["music"], "a task and a folder"),
        (["--resume", "nowhere"], "no such run"),
        (["music", "empty", "--resume", "empty"], "leave out TASK"),
    ],
)
def test_what_cannot_be_trained_is_told_in_a_line(
    args: list[str], word: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["train", *args]) in (1, 2)
    fault = capsys.readouterr().err.splitlines()[-1]
    assert fault.startswith("helicon: ")
    assert word in fault
    assert not (tmp_path / "runs").exists()


def test_demo_reports_the_model_and_what_counting_reaches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(music.MusicWorld, "seconds", 1.0)
    assert main(["demo", "music", "-o", "out", "--pieces", "8", "--minutes", "0.01"]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    names = {"val_nats_per_token", "unigram_nats_per_token", "bigram_nats_per_token", "seconds"}
    assert report.keys() == {"model", *names}
    assert all(report[name] > 0 for name in names)
    assert load_bundle(Path(report["model"])).schema.layouts
    assert (tmp_path / "out" / "index.html").read_text().count("<audio") == 4
    assert "helicon generate" in capsys.readouterr().err
    assert main(["demo", "music", "-o", "out"]) == 2
    assert "has something in it" in capsys.readouterr().err


def test_durations_are_told_as_lightning_takes_them() -> None:
    assert format_duration(30) == "00:00:00:30"
    assert format_duration(90_061) == "01:01:01:01"
