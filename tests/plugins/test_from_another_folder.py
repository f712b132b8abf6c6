"""Each example of a plugin where it lies, by the command from another folder; several in one command save its start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from plugins.by_command import helicon, pictures
from test_plugin_commands import EXAMPLES, TINY, steps, texts

from helicon.cli import main

PLUGINS = sorted(EXAMPLES.glob("own_*.py"))
pytestmark = pytest.mark.usefixtures("one_thread")


def named(*names: str) -> list[str]:
    return [word for name in names for word in ("--plugin", f"{EXAMPLES}/own_{name}.py")]


@pytest.fixture
def elsewhere(home) -> Path:
    (home / "elsewhere").mkdir()
    return home / "elsewhere"


def fit(*words: str) -> None:
    assert main(["fit", *(word for word in TINY if not word.startswith("--model.context")), *words]) == 0


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.stem)
def test_an_example_is_read_at_a_glance(plugin):
    assert 20 <= len(plugin.read_text(encoding="utf-8").splitlines()) <= 60


def test_drum_patterns(home, elsewhere):
    (steps(home) / "bad.steps").write_text("x-o\n")
    options = [*(word for word in TINY if word != "--samples=false"), "--data.longest=6", "--name=drums"]
    done = helicon(elsewhere, "train", "steps", "../steps", "--size=tiny", *options, *named("modality"))
    assert done.returncode == 0, done.stderr
    assert "bad.steps: not three lines of equal length of x and -" in done.stderr
    run = elsewhere / "runs" / "drums"
    assert json.loads((run / "model" / "bundle.json").read_text())["reading"] == {"longest": 6}
    made = [path.read_text().split("\n") for path in (run / "samples").rglob("*.steps")]
    assert made
    assert all(len({len(drum) for drum in drums[:3]}) == 1 for drums in made)


def test_texts(home, elsewhere):
    """Characters, a pattern, an objective; a step of sampling."""
    own = named("tokenizer", "pattern", "objective")
    what = ["--task=quiet", "--model.pattern=dilated:4,2", "--data.tokenizer=characters", "--data.layouts=[text]"]
    fit(*what, f"--data.path={texts(home)}", "--model.context=32", "--name=text", *own)
    words = ["generate", "../runs/text", "--tokens=4", "--sampler=typical:0.9", *own, *named("sampler_step")]
    done = helicon(elsewhere, *words)
    assert done.returncode == 0, done.stderr
    assert set((elsewhere / "out" / "000.txt").read_text()) <= set("line 0123 of a short text\n\ufffd")
    assert json.loads((elsewhere / "out" / "000.json").read_text())["settings"]["sampler"] == ["typical:0.9"]


def test_pictures(home, elsewhere):
    """A quantizer and networks of a codec; a judge."""
    own, path = named("quantizer", "codec_net"), f"--data.path={pictures(home)}"
    codec = [word for word in TINY if word.startswith("--trainer")]
    codec += ["--data.size=16", "--model.width=16", "--model.codes=16", "--model.net=patches", "--model.quantizer=lfq"]
    assert main(["fit", "--config=image-codec", path, *codec, "--samples=false", "--name=codec", *own]) == 0
    fit("--config=image", path, "--data.tokenizer=runs/codec", "--name=image", *own)
    words = ["generate", "../runs/image", "--best-of=3", "--by=colourful", *own, *named("judge")]
    done = helicon(elsewhere, *words)
    assert done.returncode == 0, done.stderr
    assert (elsewhere / "out" / "000.png").is_file()
    assert json.loads((elsewhere / "out" / "000.json").read_text())["score"] >= 0
