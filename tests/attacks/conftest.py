"""Runs to be sent by strangers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from attacks.sent_runs import TINY

from helicon.commands.fit import quiet
from helicon.training.run import run_lightning


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps, whose data lie in the folder `texts` beside the folder of runs."""
    folder = tmp_path_factory.mktemp("honest")
    (folder / "texts").mkdir()
    for number in range(12):
        (folder / "texts" / f"{number}.txt").write_text(f"{number} little words to learn by heart. " * 8)
    quiet()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HELICON_CACHE", str(folder / "cache"))
        return run_lightning(
            "fit", ["--config=text", f"--data.path={folder / 'texts'}", f"--runs={folder / 'runs'}", "--name=a", *TINY]
        ).run_folder


@pytest.fixture
def sent(honest: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(honest, tmp_path / "sent"))
