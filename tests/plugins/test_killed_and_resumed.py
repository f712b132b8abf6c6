"""A modality, a pattern, a quantizer, an objective of one's own: trained, killed, resumed, used from another folder."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from plugins.by_command import helicon, pictures
from test_plugin_commands import EXAMPLES, steps, texts

MODEL = (
    "--model.layers=2", "--model.width=32", "--model.heads=2", "--model.context=64", "--data.batch_size=4",
    "--samples=false",
)  # fmt: skip
CODEC = ("--model.width=16", "--model.blocks=0", "--model.codes=16", "--data.size=16", "--data.batch_size=4")
KINDS = {
    "own_modality": ("steps", *MODEL),
    "own_pattern": ("text", "--model.pattern=dense,dilated:4,8", "--data.tokenizer=bytes", *MODEL),
    "own_quantizer": ("image-codec", "--model.quantizer=lfq", *CODEC),
    "own_objective": ("quiet", "--data.layouts=[text]", "--data.tokenizer=bytes", *MODEL),
}
LONG, SAVED_S = 100_000, 120


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_trained_killed_resumed_and_used_from_another_folder(tmp_path, kind):
    task, *options = KINDS[kind]
    made = {"own_modality": steps, "own_quantizer": pictures}.get(kind, texts)(tmp_path)
    named, run = ["--plugin", str(EXAMPLES / f"{kind}.py")], tmp_path / "runs" / "run"
    every = ["--trainer.accelerator=cpu", f"--trainer.max_steps={LONG}", "--trainer.val_check_interval=20"]
    words = ["train", task, str(made), "--name=run", "--runs", str(run.parent), *options, *every, *named]
    words += [] if kind == "own_quantizer" else ["--size=tiny"]
    training = subprocess.Popen([sys.executable, "-m", "helicon", *words], cwd=tmp_path, stderr=subprocess.DEVNULL)
    begun = time.monotonic()
    while not (run / "model").is_dir():  # which the first validation leaves
        assert training.poll() is None
        assert time.monotonic() - begun < SAVED_S
        time.sleep(0.2)
    training.terminate()
    assert training.wait() in (143, -15)
    saved = (run / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    os.mkdir(elsewhere := tmp_path / "elsewhere")
    more = ["--resume", str(run), f"--trainer.max_steps={LONG}", "--minutes=0.15"]
    refused = helicon(elsewhere, "train", *more)
    assert refused.returncode
    assert f"needs the plugin {EXAMPLES / kind}.py" in refused.stderr
    resumed = helicon(elsewhere, "train", *more, *named)
    assert resumed.returncode == 0, resumed.stderr
    assert (run / "checkpoints" / "last.ckpt").stat().st_mtime_ns > saved
    use = ["reconstruct", str(run), f"{made}/1.png"] if kind == "own_quantizer" else ["generate", str(run), "-n=2"]
    assert "needs the plugin" in helicon(elsewhere, *use).stderr
    done = helicon(elsewhere, *use, *named)
    assert done.returncode == 0, done.stderr
    assert any((elsewhere / "out").iterdir())
