"""Runs that somebody sends, gone on with or repeated: nothing is read or written outside, nothing takes long."""

from __future__ import annotations

import os
import shutil
from itertools import pairwise
from pathlib import Path

import harness
import pytest
import torch
from attacks.sent_runs import configured, resumed

from helicon.bundle.storage import load_bundle
from helicon.formats.plots import curves
from helicon.training.learning.keeping import kept_loss
from helicon.training.runs.checkpoints import read_checkpoint
from helicon.training.runs.folders import read_config, run_text
from helicon.training.runs.metrics import read_metrics

GB = 1 << 30
LETTERS = "abcdefghijklmnopqrstuvwx"
NO_CONFIGS = {
    "aliases": "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in pairwise(LETTERS)),
    "nested": "[" * 100_000, "word": "a" * 1_000_000, "escapes": "\x00\x1b[2J", "list": "- 1\n- 2\n",
    "number": "data: 5\n", "empty": "", "runs": "runs: [1, 2]\n", "infinite": "trainer: {max_steps: 9e999}\n",
}  # fmt: skip


def linked(run: Path, name: str, target: Path) -> None:
    """Puts a link in the place of a file or a folder of the run."""
    path = run / name
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    path.symlink_to(target)


@harness.posix
@pytest.mark.parametrize(
    "name", ["metrics.csv", "config.yaml", "model", "checkpoints", "samples", "checkpoints/last.ckpt"]
)
def test_a_run_with_links_is_not_gone_on_with(honest, sent, tmp_path, name):
    """What they point to would be read or written."""
    victim = tmp_path / "victim"
    shutil.copytree(honest, victim)
    (victim / "samples").mkdir(exist_ok=True)
    before = {path: path.read_bytes() for path in victim.rglob("*") if path.is_file()}
    linked(sent, name, victim / name)
    ended = resumed(sent, honest)
    assert {path: path.read_bytes() for path in victim.rglob("*") if path.is_file()} == before
    ended.is_refusal(sent / name, "link")


@harness.posix
@pytest.mark.parametrize("name", ["metrics.csv", "config.yaml", "progress.csv"])
@pytest.mark.parametrize("kind", ["pipe", "huge"])
def test_a_file_of_a_run_that_never_ends(honest, sent, name, kind):
    path = sent / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        with path.open("wb") as file:
            file.truncate(4 * GB)
    resumed(sent, honest).is_refusal(path)


@harness.posix
@pytest.mark.parametrize("name", NO_CONFIGS)
def test_a_config_that_is_none(honest, sent, name):
    (sent / "config.yaml").write_text(NO_CONFIGS[name])
    ended = resumed(sent, honest)
    ended.is_refusal()


@harness.posix
def test_a_config_that_names_other_places(honest, sent, tmp_path):
    """Where a run is written to is where it lies, whatever its config says."""
    other = tmp_path / "other"
    configured(sent, runs=str(other), name="theirs", upsampler_of=str(honest))
    before = {path: path.read_bytes() for path in honest.rglob("*") if path.is_file()}
    resumed(sent, honest)
    assert not other.exists()
    assert {path: path.read_bytes() for path in honest.rglob("*") if path.is_file()} == before


@harness.posix
@pytest.mark.parametrize(
    "content",
    [b"step,a\n" + b"9" * 50_000_000, b"step,a\n" + b"1,1.0\n" * 3_000_000, b"step,a\n" + b"7\r" * 20_000_000,
     b"step," + b",".join(b"m%d" % i for i in range(400_000)), b"\x00" * 1000, b'"' * 1_000_000,
     b"step," + b",".join(b"m%d" % i for i in range(1000)) + b"\n" + (b"1" + b"," * 1000 + b"\n") * 20_000],
    ids=["number", "rows", "lines", "metrics", "zeros", "quotes", "columns"],
)  # fmt: skip
def test_metrics_of_a_stranger(sent, content):
    (sent / "metrics.csv").write_bytes(content)
    ended = harness.attempt(lambda: len(read_metrics(sent)))
    ended.is_cheap()
    assert ended.kind in ("", "TrainingError"), ended


@harness.posix
def test_numbers_of_a_stranger_are_drawn(sent, recwarn):
    """Steps that no array holds, and values of which the squares are infinite."""
    rows = "".join(f"{step},{(-1) ** step * 1e308:g}\n" for step in range(300))
    (sent / "metrics.csv").write_text(f"step,a\n-{'9' * 400},1\n{'9' * 400},1\n{rows}300,1.5\n")
    found = read_metrics(sent)
    assert found["a"][0] == [*range(301)]
    curves(found, sent / "a.png", label="a")
    assert not recwarn.list


@harness.posix
@pytest.mark.parametrize(
    ("name", "value"), [("val_check_interval", 0), ("devices", "2,"), ("max_time", "x" * 3000), ("fast_dev_run", -1)]
)
def test_odd_values_of_a_trainer(honest, sent, name, value):
    """Of which Lightning says much, or stumbles over."""
    config = read_config(sent)
    (sent / "config.yaml").write_text(run_text({**config, "trainer": {**config["trainer"], name: value}}))
    resumed(sent, honest).is_refusal("--trainer", sent / "config.yaml", "line")


@harness.posix
def test_a_checkpoint_elsewhere_does_not_say_where_to_write(honest, sent, tmp_path):
    """What lies two folders above a checkpoint is somebody's; a branch is a run of its own."""
    before = {path: path.read_bytes() for path in sent.rglob("*") if path.is_file()}
    words = ["--config", str(honest / "config.yaml"), "--ckpt_path", str(sent / "checkpoints" / "last.ckpt")]
    words += ["--runs", str(tmp_path / "runs"), "--name", "branch", "--trainer.max_steps=6"]
    environment = {"HELICON_CACHE": str(honest.parents[1] / "cache")}
    ended = harness.command(["fit", *words], tmp_path, environment)
    assert ended.value == "0", ended
    assert {path: path.read_bytes() for path in sent.rglob("*") if path.is_file()} == before
    assert load_bundle(tmp_path / "runs" / "branch").notes["step"] == 6


@pytest.mark.parametrize("content", ["[" * 100_000, "[]," * 20_000_000, '{"notes": {"val_loss": 1' + "0" * 400 + "}}"])
def test_the_model_of_a_run_that_is_gone_on_with(tmp_path, content):
    (tmp_path / "bundle.json").write_text(content)
    outcome = harness.attempt(kept_loss, tmp_path)
    outcome.is_cheap()
    assert outcome.value == "inf"


@pytest.mark.parametrize(
    "changes",
    [{"choices": None}, {"states": "[" * 200_000}, {"states": "[]," * 9_000_000}, {"choices": {"x" * 9_000: "bytes"}}],
)
def test_what_a_checkpoint_keeps_of_its_data(honest, sent, changes):
    path = sent / "checkpoints" / "last.ckpt"
    checkpoint = read_checkpoint(path)
    kept = checkpoint["SequenceData"]
    checkpoint["SequenceData"] = {name: value for name, value in (kept | changes).items() if value is not None}
    torch.save(checkpoint, path)
    resumed(sent, honest).is_refusal(path, "what it keeps of the data is damaged")
