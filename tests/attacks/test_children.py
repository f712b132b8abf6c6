"""Processes that are started import nothing from the folder one happens to be in, and end with who began them."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import attempt, posix
from torch.utils.data import IterableDataset

from helicon.data import build
from helicon.data.children import python_command
from helicon.data.prepare import prepare
from helicon.data.source import DataSource
from helicon.data.workers import Workers
from helicon.modalities import registry
from helicon.training.learning.loaders import TrainLoader

# What the interpreter, multiprocessing, Lightning and we import while a process starts, and how else a folder may run
PLANTED = (
    "pickle.py", "random.py", "socket.py", "numpy.py", "torch.py", "helicon.py", "sitecustomize.py",
    "usercustomize.py", "multiprocessing.py", "runpy.py", "argparse.py", "difflib.py", "planted.py",
)  # fmt: skip


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """A folder of a stranger's, whose files write their names to the file RAN where they run."""
    folder = tmp_path / "planted"
    folder.mkdir()
    code = f"with open({str(folder / 'RAN')!r}, 'a') as ran: ran.write(__file__ + chr(10))\nraise SystemExit(3)\n"
    for name in PLANTED:
        (folder / name).write_text(code)
    (folder / "planted.pth").write_text("import planted\n")
    (folder / "planted-1.dist-info").mkdir()
    (folder / "planted-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1\n")
    (folder / "planted-1.dist-info" / "entry_points.txt").write_text("[helicon.modalities]\nx = planted:X\n")
    return folder


def ran(folder: Path) -> str:
    """What ran of a stranger's folder."""
    return (folder / "RAN").read_text() if (folder / "RAN").exists() else ""


def _read(folder: Path) -> list[str]:
    os.chdir(folder)
    with Workers(1) as others:
        others.start()
        others._pool.submit(registry.all_modalities).result()
        return [str(future.exception()) for future in others._starting]


@posix
def test_readers_import_nothing_from_the_current_folder(planted: Path) -> None:
    ended = attempt(_read, planted)
    assert ran(planted) == ""
    assert ended.value == "['None']", ended


def alive(process: int) -> bool:
    """Whether a process is there that is more than a name."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def are_gone(processes: list[int]) -> bool:
    """Waits until none of them is left: within two seconds, unless the machine is busy."""
    end = time.monotonic() + 20
    while any(map(alive, processes)) and time.monotonic() < end:
        time.sleep(0.05)
    left = [process for process in processes if alive(process)]
    for process in left:
        os.kill(process, signal.SIGKILL)
    return not left


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run(
        [sys.executable, *words], cwd=folder, env=clean, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("way", ["script", "module", "companion"])
def test_commands_import_nothing_from_the_current_folder(planted: Path, way: str) -> None:
    """What the interpreter imports for `python -m` before any code of ours runs is left out."""
    for name in ("helicon.py", "runpy.py", "argparse.py", "difflib.py"):
        (planted / name).unlink()
    script = planted.parent / "helicon"
    script.write_text("import sys\nfrom helicon.cli import main\nsys.exit(main())\n")
    words, says = {
        "script": ([str(script), "--version"], "helicon 0"),
        "module": (["-m", "helicon", "tokenize", "none.mid"], "none.mid: No such file"),
        "companion": (python_command("helicon.cli", "main", ["--version"])[1:], "helicon 0"),
    }[way]
    done = _run(planted, *words)
    assert ran(planted) == ""
    assert says in done.stdout + done.stderr


@pytest.mark.slow
def test_scripts_still_bring_their_own_modules_along(tmp_path: Path) -> None:
    """Readers find what lies beside the script, wherever that is run, and not what lies where it is run."""
    beside, here = tmp_path / "beside", tmp_path / "here"
    for folder in (beside, here):
        folder.mkdir()
        (folder / "own.py").write_text(
            f"from types import SimpleNamespace\nWHERE = {folder.name!r}\n"
            "def work(task): return SimpleNamespace(value=(WHERE, task), bytes=1)\n"
        )
    (beside / "script.py").write_text(
        "import own\nfrom helicon.data.workers import Workers, shared\n"
        "if __name__ == '__main__':\n"
        "    with Workers(1) as others:\n"
        "        others.start()\n"
        "        print([found.value for found in shared(own.work, iter([1, 2]), 2, others._pool, 1)])\n"
    )
    done = _run(here, str(beside / "script.py"))
    assert done.stdout == "[('beside', 1), ('beside', 2)]\n", done.stderr


def _killed(begin: Callable[[Callable[[list[int]], None]], None]) -> list[int]:
    """Kills a process that has begun others; gives these."""
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        try:
            begin(lambda processes: os.write(tell, " ".join(map(str, processes)).encode()))
            time.sleep(60)
        finally:
            os._exit(1)
    os.close(tell)
    processes = [int(word) for word in os.read(told, 1000).split()]
    os.close(told)
    assert processes
    assert all(map(alive, processes))  # before: they may end at once
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return processes


def _readers(tell: Callable[[list[int]], None]) -> None:
    others = Workers(1)
    others.start()
    others._starting[0].result()
    tell(list(others._pool._processes))


class _Endless(IterableDataset[int]):
    first = 0

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self.first)


def _loaders(tell: Callable[[list[int]], None]) -> None:
    batches = iter(TrainLoader(_Endless(), lambda: 3, workers=2))
    assert next(batches) == 3
    tell([worker.pid for worker in batches._workers])
    time.sleep(60)


def _companion(tell: Callable[[list[int]], None]) -> None:
    line = python_command("builtins", "input", [])
    with subprocess.Popen(line, stdin=_Stdin.read, stdout=subprocess.PIPE) as process:
        process.stdout.read(1)  # it asks
        tell([process.pid])
        time.sleep(60)


class _Stdin:
    """A pipe that is never written to, nor closed when a child is killed."""

    read, write = os.pipe()


@posix
@pytest.mark.parametrize("begin", [_readers, _loaders, _companion])
def test_others_end_with_who_is_killed(begin: Callable[[Callable[[list[int]], None]], None]) -> None:
    """`kill -9` tells nobody: before, readers waited for work for good, with a gigabyte."""
    assert are_gone(_killed(begin))


def _killed_while_building(source: DataSource) -> None:
    real = build.write_json

    def write_and_end(path: Path, index: object) -> None:
        real(path, index)
        os.kill(os.getpid(), signal.SIGKILL)

    build.write_json = write_and_end
    prepare(source)


@posix
def test_a_cache_that_was_being_built_is_cleared(tmp_path: Path) -> None:
    """All that was written, but not under its name: nothing takes it for whole, and the next start removes it."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("a text")
    source = DataSource(
        path=tmp_path / "data", layouts=("text",), tokenizers={"text": "bytes"}, cache=tmp_path / "cache"
    )
    assert attempt(_killed_while_building, source).value == ""
    (half,) = (tmp_path / "cache").iterdir()
    assert half.name.startswith(".")
    assert prepare(source).files == 1
    (whole,) = (tmp_path / "cache").iterdir()
    assert not whole.name.startswith(".")
