"""Temporary files on another file system than runs, results and the cache: nothing is renamed from one to the other."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from training_runs import arguments

from helicon.bundle.storage import load_bundle
from helicon.cli import main
from helicon.formats.files import atomic_write
from helicon.training.runs.checkpoints import latest_checkpoint


@pytest.fixture
def elsewhere(tmp_path, monkeypatch) -> Iterator[Path]:
    """$TMPDIR, from which nothing can be renamed into tmp_path."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("one file system alone")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", None)
        Path(folder, "probe").touch()
        with pytest.raises(OSError, match=os.strerror(errno.EXDEV)):
            Path(folder, "probe").replace(tmp_path / "probe")
        Path(folder, "probe").unlink()
        yield Path(folder)


def test_a_run_and_what_it_makes_are_written_all_the_same(midi_folder, tmp_path, elsewhere, monkeypatch, capsys):
    monkeypatch.setenv("HELICON_CACHE", str(tmp_path / "cache"))
    assert main(["fit", *arguments(midi_folder, tmp_path, "run", "--trainer.max_steps=6", "--samples=true")]) == 0
    assert main(["generate", str(tmp_path / "run"), "--tokens", "20", "-o", str(tmp_path / "out")]) == 0
    checkpoint, faults = latest_checkpoint(tmp_path / "run")
    assert (checkpoint.name, faults) == ("last.ckpt", [])
    assert load_bundle(tmp_path / "run").notes["step"] == 6
    assert (tmp_path / "out" / "000.mid").is_file()
    assert any((tmp_path / "cache").iterdir())
    assert list(elsewhere.iterdir()) == []
    assert "Error" not in capsys.readouterr().err


def test_what_is_being_written_is_beside_its_target(tmp_path, elsewhere):
    target = tmp_path / "kept"
    target.write_text("before")

    def stopped() -> None:
        with atomic_write(target) as temporary:
            assert temporary.parent == tmp_path
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert target.read_text() == "before"
    with atomic_write(target) as temporary:
        temporary.write_text("after")
    assert target.read_text() == "after"
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert list(elsewhere.iterdir()) == []
