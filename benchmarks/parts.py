"""A cache in 8 parts by 2 processes at a time, two of which are killed: compared byte for byte with one made alone.

python benchmarks/parts.py [--pieces 400]

The parts are those of `helicon prepare --part N/8`, in a random order, in two rounds, as byte pairs are fitted to all
of them. In each round a process is killed a random time after its start, and its part is started again later.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import describe

from helicon.demos.composer import write_folder

PARTS, AT_ONCE, START_S, WORK_S = 8, 2, 4.0, 1.0  # seconds of imports, and about those of a part's work
LAYOUTS = '--data.layouts=["style[3] music", "text"]'


def main() -> None:
    """Makes the files, prepares them alone and in parts, and compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pieces", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(describe())
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as temporary:
        data, alone, parts = (Path(temporary, name) for name in ("data", "alone", "parts"))
        write_folder(data, args.pieces, seed=1)
        for i in range(args.pieces):
            (data / f"{i}.txt").write_text(" ".join(str(rng.randrange(1000)) for _ in range(2000)))
        began = time.perf_counter()
        finish(start(data, alone))
        print(f"alone      {time.perf_counter() - began:.0f} s")
        began, killed = time.perf_counter(), 0
        for _ in range(2):
            killed += make_round(data, parts, rng)
        print(f"{PARTS} parts    {time.perf_counter() - began:.0f} s, {killed} processes killed and started again")
        equal = digests(alone) == digests(parts)
        print(f"{len(digests(parts))} files, {'equal to the bit' if equal else 'NOT equal'}")
        sys.exit(not equal)


def start(data: Path, cache: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start a process of `helicon prepare`."""
    command = [sys.executable, "-m", "helicon", "prepare", "--config", "music", LAYOUTS, f"--data.path={data}"]
    environment = {**os.environ, "HELICON_CACHE": str(cache)}
    return subprocess.Popen(
        [*command, "--data.tokenizers={text: bpe}", *words], env=environment, stderr=subprocess.PIPE
    )


def finish(process: subprocess.Popen[bytes]) -> None:
    """Wait for a process; its failure ends the benchmark."""
    _, errors = process.communicate()
    if process.returncode:
        sys.exit(errors.decode())


def make_round(data: Path, cache: Path, rng: random.Random) -> int:
    """Start each part, two at a time, and kill one of them on the way; return the number of killed processes."""
    waiting, running = rng.sample(range(1, PARTS + 1), PARTS), []
    victim, killed = rng.choice(waiting), 0
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            number = waiting.pop()
            running.append((number, start(data, cache, f"--part={number}/{PARTS}")))
        number, process = running.pop(0)
        if number == victim and not killed:
            time.sleep(START_S + rng.random() * WORK_S)
            killed = int(process.poll() is None)
            process.kill()
            process.communicate()
            waiting.insert(0, number)
        else:
            finish(process)
    return killed


def digests(folder: Path) -> dict[str, str]:
    """Hash all files below a folder, by name."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    main()
