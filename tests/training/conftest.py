"""A small folder of made-up music, and training on it that takes a second."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from helicon.demos.composer import write_folder

sys.path.insert(0, str(Path(__file__).parent))  # training_runs.py, whatever the import mode


@pytest.fixture(scope="session")
def midi_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pieces in folders named after their styles."""
    folder = tmp_path_factory.mktemp("midi")
    write_folder(folder, 12, seed=1)
    return folder


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Token caches go where the tests' files are."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("HELICON_CACHE", str(folder))
        yield folder


@pytest.fixture(autouse=True, scope="module")
def always_one_thread(one_thread: None) -> None:
    """Every training here is of small tensors."""
