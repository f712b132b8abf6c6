"""`kill -9` at random over all that takes time: nothing is lost, nothing half-written is taken for whole, nobody stays.

`pytest -m slow tests/stress -s` prints a table. HELICON_KILLS: how many, 40 unless given; HELICON_SEED: of the moments.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from helicon.bundle.storage import load_bundle
from helicon.cli import main
from helicon.data import workers
from helicon.demos.composer import write_folder
from helicon.pages import model_page
from helicon.training.errors import TrainingError
from helicon.training.learning.keeping import KeepCheckpoints
from helicon.training.runs.checkpoints import read_checkpoint
from helicon.training.runs.metrics import read_metrics
from helicon.training.runs.record import read_record

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="kill -9 is of POSIX")]

SHARES = {"prepare": 0.2, "fit": 0.4, "train": 0.2, "generate": 0.2}
STEPS = 24
GONE_AFTER_S = 5.0
CACHED = ["--data.val_split=0.2", "--data.tokenizers={music: musenet}"]
TINY = [
    "--model.layers=1", "--model.width=16", "--model.heads=1", "--model.context=32", "--model.pattern=dense", *CACHED,
    "--data.batch_size=4", "--trainer.accelerator=cpu", "--trainer.precision=32-true",
    f"--trainer.max_steps={STEPS}", "--trainer.val_check_interval=6", "--trainer.log_every_n_steps=1",
    "--data.workers=1",
]  # fmt: skip


class Place:
    """A folder with data, a cache and commands that are run in it, each in a process forked from this one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.midi = folder, folder / "midi"

    def start(self, words: Sequence[str], cache: str = "cache", readers: bool = False) -> int:
        """Process id of a command, which leads a session. readers: whether others read the files, from the start."""
        child = os.fork()
        if child:
            return child
        status = 1
        try:
            os.setsid()
            os.chdir(self.folder)
            log = os.open("log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(log, 1)
            os.dup2(log, 2)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8") for number in (1, 2))
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            torch.set_num_threads(1)  # OpenMP's threads do not survive a fork
            os.environ["HELICON_CACHE"] = str(self.folder / cache)
            KeepCheckpoints.__init__.__defaults__ = (False, 0.0)  # a checkpoint at each step
            model_page.SECONDS = 1.0  # of an item on the page of a training
            if readers:
                workers.WORTH_S = workers.TRIED_S = workers.LITTLE_S = 0.0
            status = main(words)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)

    def run(self, words: Sequence[str], cache: str = "cache", readers: bool = False) -> float:
        """Seconds that a command takes, which has to end well."""
        began, process = time.monotonic(), self.start(words, cache, readers)
        assert os.waitpid(process, 0)[1] == 0, (self.folder / "log.txt").read_text()[-2000:]
        return time.monotonic() - began

    def kill(
        self, words: Sequence[str], seconds: float, after: Path | None = None, cache: str = "cache",
        readers: bool = False,
    ) -> int:  # fmt: skip
        """Kills a command so long after it, or a file, began; gives how many processes are left of it for too long."""
        process = self.start(words, cache, readers)
        ended, began = 0, time.monotonic() if after is None else None
        while not ended and (began is None or time.monotonic() < began + seconds):
            time.sleep(0.005)
            if began is None and after is not None and after.exists():
                began = time.monotonic()
            ended = os.waitpid(process, os.WNOHANG)[0]
        if not ended:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
        deadline = time.monotonic() + GONE_AFTER_S
        while (left := of_session(process)) and time.monotonic() < deadline:
            time.sleep(0.05)
        for one in left:
            os.kill(one, signal.SIGKILL)
        return len(left)


def of_session(leader: int) -> list[int]:
    """Processes of a session, however they were started."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,sess=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    return [int(pid) for pid, session, state in rows if int(session) == leader and not state.startswith("Z")]


def whole_files(folder: Path) -> dict[str, bytes]:
    """Files that are not hidden."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in found
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def hidden(folder: Path) -> list[Path]:
    return sorted(folder.rglob(".*"))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("killed"))
    write_folder(place.midi, 60, seed=3)
    yield place
    shutil.rmtree(place.folder, ignore_errors=True)


def prepare_words(place: Place) -> list[str]:
    return ["prepare", "--config", "music", "--data.path", str(place.midi), *CACHED]


def fit_words(place: Place, name: str) -> list[str]:
    return ["fit", "--config", "music", "--data.path", str(place.midi), "--name", name, *TINY, "--samples=false"]


def train_words(place: Place, name: str) -> list[str]:
    words = ["train", "music", str(place.midi), "--minutes", "100000", "--size", "tiny", "--name", name]
    return [*words, *TINY, "--samples=false"]


def check_run(run: Path) -> list[str]:
    """What of a killed run is damaged, of all that has its final name."""
    faults = []
    for path in (run / "checkpoints").glob("*.ckpt") if (run / "checkpoints").exists() else []:
        if not path.name.startswith("."):
            try:
                read_checkpoint(path)
            except TrainingError as error:
                faults.append(str(error))
    if (run / "model" / "bundle.json").exists():
        try:
            load_bundle(run)
        except ValueError as error:
            faults.append(str(error))
    if (run / "progress.csv").exists():
        read_record(run)
    read_metrics(run)
    return faults


def differences(run: Path, reference: Path) -> list[str]:
    """What differs between two runs: weights, kept model, metrics, record."""
    states = [read_checkpoint(path / "checkpoints" / "last.ckpt")["state_dict"] for path in (run, reference)]
    same = {
        "weights": states[0].keys() == states[1].keys()
        and all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items()),
        "model": load_bundle(run).hash() == load_bundle(reference).hash(),
        "metrics": read_metrics(run) == read_metrics(reference),
        "progress": read_record(run) == read_record(reference),
    }
    return [name for name, holds in same.items() if not holds]


def test_killed_forty_times(place):
    kills, rng = int(os.environ.get("HELICON_KILLS", "40")), random.Random(int(os.environ.get("HELICON_SEED", "0")))
    table: dict[str, Counter[str]] = {name: Counter() for name in SHARES}
    faults: list[str] = []

    def note(what: str, name: str, holds: bool, detail: object = "") -> None:
        table[what][name] += holds
        if holds and name in ("lost", "half-written", "left running", "differ"):
            faults.append(f"{what} {name}: {detail}")

    place.run(prepare_words(place), "reference")
    prepared = whole_files(place.folder / "reference")
    long = {"prepare": place.run(prepare_words(place), readers=True)}
    long["fit"] = place.run(fit_words(place, "whole"))
    long["train"] = place.run(train_words(place, "trained"))
    generate = ["generate", "runs/whole", "-n", "8", "--tokens", "40", "-o"]
    long["generate"] = place.run([*generate, "made"])
    made = whole_files(place.folder / "made")
    print("\n" + "  ".join(f"{name} {seconds:.1f} s" for name, seconds in long.items()))

    for what, share in SHARES.items():
        for number in range(round(kills * share)):
            name = f"{what}-{number}"
            moment = rng.uniform(0.1, 1.0) * long[what]
            table[what]["kills"] += 1
            if what == "prepare":
                words = prepare_words(place)
                note(what, "left running", place.kill(words, moment, cache=name, readers=True) > 0, name)
                place.run(words, name)
                now = place.folder / name
                note(what, "half-written", whole_files(now) != prepared, name)
                note(what, "hidden left", bool(hidden(now)))
            elif what == "generate":
                out = place.folder / name
                note(what, "left running", place.kill([*generate, name], moment) > 0, name)
                after = whole_files(out) if out.exists() else {}
                note(what, "half-written", any(made.get(path) != data for path, data in after.items()), name)
                note(what, "lost", not same_made(place, generate, name, made), name)
                note(what, "hidden left", bool(hidden(out)))
            else:
                words = fit_words(place, name) if what == "fit" else train_words(place, name)
                run, reference = place.folder / "runs" / name, place.folder / "runs" / "whole"
                reference = reference if what == "fit" else place.folder / "runs" / "trained"
                last = run / "checkpoints" / "last.ckpt"
                after_checkpoint = last if what == "fit" else None
                moment = rng.uniform(0, 0.25) * long[what] if what == "fit" else moment
                note(what, "left running", place.kill(words, moment, after_checkpoint) > 0, name)
                damaged = check_run(run) if run.exists() else []
                note(what, "half-written", bool(damaged), damaged)
                if not (run / "checkpoints").exists() or not any((run / "checkpoints").glob("[!.]*.ckpt")):
                    table[what]["before its first checkpoint"] += 1
                    continue
                place.run(["train", "--resume", str(run)])
                note(what, "resumed", True)
                differs = differences(run, reference)
                note(what, "differ", bool(differs), f"{name}: {', '.join(differs)}")
                note(what, "hidden left", bool(hidden(run)))
                shutil.rmtree(run)
    columns = ["kills", "lost", "half-written", "left running", "hidden left", "resumed", "differ"]
    print("\n" + f"{'':10}" + "".join(f"{column:>14}" for column in columns))
    for what, counts in table.items():
        print(f"{what:10}" + "".join(f"{counts[column]:14}" for column in columns))
    assert not faults, "\n".join(faults)
    assert sum(counts["hidden left"] for counts in table.values()) == 0
    assert sum(counts["resumed"] for counts in table.values()) >= kills // 2


def same_made(place: Place, generate: Sequence[str], name: str, made: dict[str, bytes]) -> bool:
    """Whether the same command, run once more, ends with what an undisturbed one makes."""
    place.run([*generate, name])
    return whole_files(place.folder / name) == made
