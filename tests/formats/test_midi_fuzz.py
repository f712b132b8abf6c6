"""Whatever bytes come, reading MIDI ends soon, with a score or with MidiError."""

import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helicon.formats.midi import read_midi_bytes, write_midi
from helicon.formats.midi_bytes import MidiError
from helicon.formats.score import DRUMS, Score

SPECIAL = (
    b"MThd",
    b"MTrk",
    b"\xff\x2f\x00",
    b"\xff\x51\x03\0\0\0",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\xf0",
    b"\0\0",
)


@pytest.fixture(scope="module")
def seed_file(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A short piece of three programs, with text."""
    path = tmp_path_factory.mktemp("fuzz") / "seed.mid"
    onset = np.arange(30) * 0.2
    program = np.array([0, 40, DRUMS] * 10)
    write_midi(Score.of(onset, onset + 0.3, 40 + np.arange(30), np.full(30, 80), program), path, text="bach start")
    return path.read_bytes()


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One to eight random edits: a byte changed, a stretch cut, doubled or moved, a special sequence put in."""
    out = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        at, to = sorted(rng.integers(0, len(out) + 1, 2).tolist())
        match rng.integers(6):
            case 0 | 1 if at < len(out):
                out[at] = rng.integers(256)
            case 2:
                del out[at : min(to, at + 40)]
            case 3:
                out[at:at] = out[at : min(to, at + 200)]
            case 4:
                out[at:at] = SPECIAL[rng.integers(len(SPECIAL))]
            case 5:
                special = SPECIAL[rng.integers(len(SPECIAL))]
                out[at : at + len(special)] = special
    return bytes(out)


def check(data: bytes) -> None:
    """Reads within two seconds of CPU time; what comes out is a sound score, or MidiError of one line."""
    start = time.process_time()
    try:
        score, report = read_midi_bytes(data)
        reason = str(report)
    except MidiError as error:
        score = Score.of([], [], [], [], [])
        reason = str(error)
    assert time.process_time() - start < 2
    assert reason
    assert "\n" not in reason
    assert np.isfinite(score.end_s).all()
    assert (score.onset_s >= 0).all()
    assert (score.end_s > score.onset_s).all()
    assert (np.diff(score.onset_s) >= 0).all()
    for values, least, greatest in ((score.pitch, 0, 127), (score.velocity, 1, 127), (score.program, 0, DRUMS)):
        assert ((values >= least) & (values <= greatest)).all()
    assert 0 < score.tempo_bpm < float("inf")


def fuzz(seed_file: bytes, n: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(n):
        check(mutated(seed_file, rng))


def test_3000_mutations(seed_file: bytes) -> None:
    fuzz(seed_file, 3000)


@pytest.mark.slow
def test_100_000_mutations(seed_file: bytes) -> None:
    fuzz(seed_file, 100_000)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_track(body: bytes) -> None:
    check(b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk" + len(body).to_bytes(4) + body)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100))
def test_any_bytes(data: bytes) -> None:
    check(data)
    check(b"MThd" + data)


@pytest.mark.parametrize(
    "data",
    [
        b"MThd\xff\xff\xff\xff\0\1\0\1\1\xe0MTrk\xff\xff\xff\xff",
        b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0\x08\0\xff\x01\xff\xff\xff\x7fA",
        b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0\x08\0\xf0\xff\xff\xff\x7fAB",
        b"MThd\0\0\0\6\0\1\xff\xff\1\xe0" + b"MTrk\0\0\0\0" * 5_000,
        b"MThd\0\0\0\6\0\1\xff\xff\1\xe0" + b"MTrk\xff\xff\xff\xff" * 5_000,
        b"MThd\0\0\0\6\0\1\0\1\1\xe0" + b"xxxx\0\0\0\0" * 5_000,
    ],
    ids=["header", "text", "sysex", "empty tracks", "endless tracks", "alien chunks"],
)
def test_declared_sizes_take_no_memory(data: bytes) -> None:
    tracemalloc.start()
    check(data)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 100e6


def test_mutations_of_a_real_piece(shared_data: Path) -> None:
    data = min(
        (shared_data / "midi" / "freedoom_game").glob("*.mid"), key=lambda path: path.stat().st_size
    ).read_bytes()
    fuzz(data, 200)
