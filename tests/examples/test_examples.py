"""Each example runs as its user would run it, on a small folder."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from helicon import api  # noqa: F401  before the forks
from helicon.demos.composer import write_folder
from helicon.formats.image import write_image
from helicon.formats.midi import read_midi

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
FORK = multiprocessing.get_context("fork")
ONE_SECOND_OF_TRAINING = "0.02"


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """Where the examples run and leave their runs."""
    folder = tmp_path_factory.mktemp("home")
    write_folder(folder / "midi", 8, seed=3)
    return folder


def run(home: Path, example: str, *arguments: str | Path) -> list[str]:
    """Lines that an example prints, in a process that has imported PyTorch and Lightning already."""
    process = FORK.Process(target=start, args=(home, example, *map(str, arguments)))
    process.start()
    process.join()
    assert process.exitcode == 0
    return (home / "printed").read_text(encoding="utf-8").splitlines()


def start(home: Path, *words: str) -> None:
    """The forked process."""
    torch.set_num_threads(1)  # OpenMP's threads do not survive a fork
    os.chdir(home)
    sys.argv = list(words)
    with open("printed", "w", encoding="utf-8") as sys.stdout:
        runpy.run_path(str(EXAMPLES / words[0]), run_name="__main__")


@pytest.fixture(scope="module")
def trained(home) -> list[str]:
    return run(home, "train_on_a_folder.py", home / "midi", ONE_SECOND_OF_TRAINING)


def test_train_on_a_folder(home, trained):
    assert len(trained) == 4
    for line in trained:
        assert (home / line).with_suffix(".wav").stat().st_size
        read_midi(home / line)


def test_continue_a_piece(home, trained):
    piece = next((home / "midi").rglob("*.mid"))
    lines = run(home, "continue_a_piece.py", home / Path(trained[0]).parents[1], piece, "9")
    assert len(lines) == 2
    for line in lines:
        path, _, told = line.partition(": ")
        assert abs(float(told.split(", ")[1].removesuffix(" s")) - 9) < 1
        given, made = read_midi(piece)[0].between(0.0, 7.0), read_midi(Path(path))[0].between(0.0, 7.0)
        assert sorted(made.pitch) == sorted(given.pitch)


def test_probe_digits(home):
    """Bright pictures from dark ones: which a probe on any layer must be able to tell, whatever the training."""
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    for label, levels in (("dark", (0, 120)), ("light", (136, 256))):
        for i in range(16):
            (home / "pictures" / label).mkdir(parents=True, exist_ok=True)
            write_image(rng.integers(*levels, (14, 14, 3)).astype(np.uint8), home / "pictures" / label / f"{i}.png")
    lines = run(home, "probe_digits.py", home / "pictures", "--steps", "1")
    assert lines[0].startswith("runs/")
    assert "32 pictures" in lines[0]
    assert [line.split("  ")[0] for line in lines[1:11]] == ["pixels 14x14", *(f"layer {i}" for i in range(9))]
    assert all(float(line[14:21]) == 100 for line in lines[1:11])
    assert "pixels: 100.0" in lines[11]
    trained = home / lines[0].partition(":")[0]
    again = run(home, "probe_digits.py", home / "pictures", "--run", trained)
    assert again[1:] == lines[1:]


def test_own_pattern(home):
    assert len((EXAMPLES / "own_pattern.py").read_text(encoding="utf-8").splitlines()) < 45
    (home / "text").mkdir()
    for i in range(8):
        (home / "text" / f"{i}.txt").write_text(f"line {i} of a short text\n" * 40)
    files = [home / line for line in run(home, "own_pattern.py", home / "text", "8")]
    assert len(files) == 4
    assert all(path.stat().st_size for path in files)
    (model,) = home.glob("runs/dilated/model/bundle.json")
    assert "dense,dilated:4,8" in model.read_text(encoding="utf-8")
