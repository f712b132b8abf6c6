"""Peak memory and speed of preparing a folder: a large set of sounds, a manifest of a million rows, processes.

python benchmarks/preparing.py sounds --gigabytes 2      # made-up WAV files, 8,000 samples a second
python benchmarks/preparing.py manifest --rows 1000000   # captions of 1,000 made-up pictures
python benchmarks/preparing.py processes                 # 2 processes against 1: music and pictures

Memory is the highest resident size of a fresh process, less that after its imports; memory-mapped tokens that the
system may drop again are in it. The files are made in a temporary folder and removed.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from machine import describe
from PIL import Image

from helicon.data.prepare import prepare
from helicon.data.source import DataSource
from helicon.demos.composer import write_folder

RSS_BYTES = 1 if sys.platform == "darwin" else 1024  # the unit of ru_maxrss
SECONDS, RATE = 60, 8000  # of a sound, and its samples a second
PICTURES, SIDE = 1000, 32  # and pixels of each side


def write_sounds(folder: Path, gigabytes: float) -> None:
    """Write 16-bit sounds of noise."""
    noise = np.random.default_rng(0).integers(-3000, 3000, SECONDS * RATE).astype(np.int16)
    for i in range(round(gigabytes * 1e9 / noise.nbytes)):
        soundfile.write(folder / f"{i}.wav", np.roll(noise, i), RATE)


def write_pictures(folder: Path, count: int = PICTURES, side: int = SIDE) -> None:
    """Write pictures of noise."""
    rng = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).save(folder / f"{i}.png")


def write_manifest(folder: Path, rows: int) -> Path:
    """Write a manifest with so many captions of the pictures."""
    write_pictures(folder)
    path = folder / "captions.jsonl"
    with path.open("w") as file:
        for i in range(rows):
            row = {"file": f"{i % PICTURES}.png", "text": f"picture {i % PICTURES}, caption {i}"}
            file.write(json.dumps(row) + "\n")
    return path


def measured(source: dict, processes: int = 1) -> dict[str, float]:
    """Prepare a source in a fresh process; megabytes and seconds."""
    words = [sys.executable, __file__, "one", json.dumps(source), "--processes", str(processes)]
    return json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def prepare_one(source: dict, processes: int) -> None:
    """Prepare a source in this process, and print what it took."""
    paths = {name: Path(source.pop(name)) for name in ("path", "cache", "manifest") if name in source}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    layouts = tuple(source.pop("layouts"))
    prepared = prepare(DataSource(layouts=layouts, **paths, **source), processes=processes)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"MB": (peak - before) * RSS_BYTES / 1e6, "s": seconds, "files": prepared.files}))


def main() -> None:
    """Measure and print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=("sounds", "manifest", "processes", "one"))
    parser.add_argument("source", nargs="?")
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if args.case == "one":
        prepare_one(json.loads(args.source), args.processes)
        return
    print(describe())
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary, "data")
        data.mkdir()
        source = {"path": str(data), "cache": str(Path(temporary, "cache"))}
        if args.case == "processes":
            compare_processes(data, source, args.repeats)
            return
        if args.case == "sounds":
            write_sounds(data, args.gigabytes)
            options = {"layouts": ["audio"], "tokenizers": {"audio": "pcm"}, "options": {"rate": RATE}}
        else:
            options = {"layouts": ["text[32] image[16x16]"], "tokenizers": {"text": "bytes", "image": "palette"}}
            options |= {"options": {"size": 16}, "manifest": str(write_manifest(data, args.rows))}
        found = measured({**source, **options})
        speed = f"{found['files']:,} files, {found['files'] / found['s']:.0f} a second"
        print(f"{args.case:10} {found['MB']:.0f} MB above the start; {speed}, {found['s']:.0f} s")


def compare_processes(data: Path, source: dict, repeats: int) -> None:
    """Print the ratio of the times of 1 and 2 processes, medians, for music and for pictures."""
    write_folder(data / "music" / "0", 400, seed=1)
    for i in range(1, 30):
        shutil.copytree(data / "music" / "0", data / "music" / str(i))
    (data / "pictures").mkdir()
    write_pictures(data / "pictures", 3000, 512)
    cases = {
        "music": {"layouts": ["music"]},
        "pictures": {"layouts": ["image[32x32]"], "tokenizers": {"image": "palette"}, "options": {"size": 32}},
    }
    for name, options in cases.items():
        times: dict[int, list[float]] = {1: [], 2: []}
        for i in range(repeats):
            for processes in (1, 2):
                places = {"path": str(data / name), "cache": f"{source['cache']}-{name}-{i}-{processes}"}
                times[processes].append(measured({**options, **places}, processes)["s"])
        one, two = (statistics.median(times[processes]) for processes in (1, 2))
        print(f"{name:10} 1 process {one:6.1f} s, 2 processes {two:6.1f} s: {one / two:.2f} times")


if __name__ == "__main__":
    main()
