"""Writers of every kind name the file when there is no room for it, and leave nothing: a limit of the size of files
stands for a full disk."""

import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from attacks import harness
from commands.tiny_bundles import text_bundle

from helicon.bundle.storage import save_bundle
from helicon.cli import main
from helicon.data.prepare import prepare
from helicon.data.source import DataSource
from helicon.formats.audio import Sound, write_audio
from helicon.formats.files import atomic_write, write_bytes
from helicon.formats.image import write_image
from helicon.formats.temporary import temporary_path

resource = pytest.importorskip("resource")


def write_array(path, ids):
    with atomic_write(path) as temporary:
        np.save(temporary, ids)


NOISE = np.random.default_rng(0)
WRITERS = {
    "ids.npy": lambda path: write_array(path, np.zeros(100_000, np.int64)),
    "sound.wav": lambda path: write_audio(Sound(np.zeros((100_000, 1), np.float32), 8000), path),
    "picture.png": lambda path: write_image(NOISE.integers(0, 256, (300, 300, 3)).astype(np.uint8), path),
    "text.bin": lambda path: write_bytes(path, bytes(100_000)),
}


def limited(work, size=20_000):
    """What becomes of some work where no file may be larger."""

    def full() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        work()

    return harness.attempt(full)


@harness.posix
@pytest.mark.parametrize("name", WRITERS)
def test_the_file_is_named_and_nothing_is_left(tmp_path, name):
    ended = limited(lambda: WRITERS[name](tmp_path / name))
    assert ended.kind == "OSError", ended
    assert str(tmp_path / name) in ended.error
    assert not list(tmp_path.iterdir())


@harness.posix
def test_a_cache_is_named_by_its_place_and_nothing_is_left(tmp_path):
    """Not by that of the files in it, which go."""
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("an ode " * 5000)
    cache = tmp_path / "cache"
    source = DataSource(path=tmp_path / "texts", layouts=("text",), tokenizers={"text": "bytes"}, cache=cache)
    ended = limited(lambda: prepare(source))
    assert ended.kind == "OSError", ended
    assert re.search(rf"'{cache}/[0-9a-f]+'$", ended.error)
    assert not list(cache.iterdir())


@harness.posix
def test_a_bundle_that_cannot_be_written_anew_is_as_it_was(tmp_path):
    save_bundle(text_bundle(), tmp_path / "model")
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    ended = limited(lambda: save_bundle(text_bundle(), tmp_path / "model"), 2_000)
    assert ended.kind == "OSError", ended
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before


@harness.posix
@pytest.mark.parametrize("there", [True, False])
def test_what_was_there_is_intact_where_something_was(tmp_path, monkeypatch, capsys, there):
    monkeypatch.chdir(tmp_path)
    if there:
        Path("out.txt").write_text("before")
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out.txt")
    monkeypatch.setattr("helicon.cli.dispatch.run", lambda *args: (_ for _ in ()).throw(error))
    assert main(["detokenize"]) == 1
    intact = "what was there before is intact: " if there else ""
    said = f"helicon: out.txt: No space left on device; {intact}free some space and run it again\n"
    assert capsys.readouterr().err == said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize(
    "words", [["help"], ["--version"], ["doctor", "--json"], ["train", "--help"], ["fit", "--help"]]
)
def test_standard_output_that_is_full_is_named(words):
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-m", "helicon", *words], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (
        1, "helicon: standard output: No space left on device; free some space and run it again\n",
    )  # fmt: skip


def test_what_a_killed_process_was_writing_is_removed_by_the_next_writer(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    left = tmp_path / "new" / temporary_path(Path("a.npz")).name.replace(f"-{os.getpid()}-", f"-{child.pid}-")
    left.parent.mkdir()
    left.write_text("half of it")
    write_bytes(left.with_name("b.npz"), b"whole")
    assert [path.name for path in left.parent.iterdir()] == ["b.npz"]
