"""Writers of every kind name the file when there is no room for it, and leave nothing: a limit of the size of files
stands for a full disk."""

import signal

import harness
import numpy as np
import pytest

from helicon.formats.audio import Sound, write_audio
from helicon.formats.files import atomic_write, write_bytes
from helicon.formats.image import write_image

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


@harness.posix
@pytest.mark.parametrize("name", WRITERS)
def test_the_file_is_named_and_nothing_is_left(tmp_path, name):
    def full() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        WRITERS[name](tmp_path / name)

    ended = harness.attempt(full)
    assert ended.kind == "OSError", ended
    assert str(tmp_path / name) in ended.error
    assert not list(tmp_path.iterdir())
