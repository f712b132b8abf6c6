"""A folder has one writer at a time, whether others are processes or threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest

from helicon.formats.folder_lock import IN_USE, FolderInUse, FolderLock


def test_a_lock_is_of_the_folder_that_is_there(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    lock = FolderLock(folder)
    lock.acquire()
    assert lock.is_held()
    folder.rename(tmp_path / "b")
    folder.mkdir()
    assert not lock.is_held()
    other = FolderLock(folder)
    other.acquire()
    lock.release()
    assert other.is_held()
    other.release()
    assert list(folder.iterdir()) == []
    assert issubclass(FolderInUse, OSError)


TRY = """
import sys
from pathlib import Path
from helicon.formats.folder_lock import FolderLock
FolderLock(Path(sys.argv[1])).acquire()
"""


def test_threads_of_a_process_keep_each_other_out(tmp_path):
    """And one that tries in vain does not set the folder free for other processes."""
    folder, refused = tmp_path / "a", []
    folder.mkdir()
    (tmp_path / "link").symlink_to("a", target_is_directory=True)

    def attempt(name: str) -> None:
        try:
            FolderLock(tmp_path / name).acquire()
        except FolderInUse as error:
            refused.append(str(error))

    with FolderLock(folder) as lock:
        for name in ("a", "link"):
            thread = Thread(target=attempt, args=(name,))
            thread.start()
            thread.join()
        assert refused == [f"{tmp_path / name}: {IN_USE}" for name in ("a", "link")]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        other = subprocess.run(
            [sys.executable, "-c", TRY, str(folder)], env=environment, capture_output=True, text=True, check=False
        )
        assert "FolderInUse" in other.stderr
        assert lock.is_held()
    with FolderLock(folder):
        pass
    with pytest.raises(FolderInUse), FolderLock(folder), FolderLock(folder):
        pass
