"""Training on tar shards as they come against the tokens made beforehand: speed, idle time, memory and disk.

python benchmarks/streaming.py pictures --gigabytes 2 --steps 1200   # about as many as pass over all of them
python benchmarks/streaming.py text --gigabytes 2

The shards are made up: texts of random words, or photograph-like JPEG files. Both trainings are of the same model and
number of steps, each in a fresh process. The first steps are left out of the speed, so that neither the making of the
cache nor the wait for the first shard counts; both are in the seconds in all. Memory is the highest resident size of
the process that trains and, by itself, of the largest one that reads. Disk is the largest size of the cache.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from machine import describe
from PIL import Image

from helicon.commands.fit import quiet
from helicon.training.run import run_lightning

RSS_BYTES = 1 if sys.platform == "darwin" else 1024  # the unit of ru_maxrss
SHARD_BYTES = 64 << 20
DIFFERENT = 200  # files, of which each shard has copies under other names
WARM_UP = 20  # steps
WORDS, SIDE = 3000, 512  # of a text, and pixels of a picture
OPTIONS = {
    "text": ["--config", "text", "--config", "tiny"],
    "pictures": ["--config", "image", "--config", "tiny", "--data.size=16", "--data.vocabulary=64"],
}  # fmt: skip


def write_shards(folder: Path, kind: str, gigabytes: float) -> None:
    """Write shards of so many bytes in all."""
    rng = np.random.default_rng(0)
    letters = [*"abcdefghijklmnopqrstuvwxyz"]
    words = np.array(["".join(rng.choice(letters, rng.integers(2, 9))) for _ in range(5000)])
    media = [text(rng, words) if kind == "text" else picture(rng) for _ in range(DIFFERENT)]
    left, number = gigabytes * 1e9, 0
    while left > 0:
        with tarfile.open(folder / f"{number:05}.tar", "w") as tar:
            taken, i = 0, 0
            while taken < min(SHARD_BYTES, left):
                data = media[i % len(media)]
                header = tarfile.TarInfo(f"{i}.{'txt' if kind == 'text' else 'jpg'}")
                header.size = len(data)
                tar.addfile(header, io.BytesIO(data))
                taken, i = taken + len(data), i + 1
        left, number = left - taken, number + 1


def text(rng: np.random.Generator, words: np.ndarray) -> bytes:
    """Return a text of random words, some more frequent than others."""
    return " ".join(words[(len(words) * rng.random(WORDS) ** 3).astype(int)]).encode()


def picture(rng: np.random.Generator) -> bytes:
    """Return a JPEG file of coloured blobs."""
    coarse = Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    noise = rng.integers(-12, 13, (SIDE, SIDE, 3))
    file = io.BytesIO()
    Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8)).save(file, "jpeg", quality=90)
    return file.getvalue()


class Watch(pl.Callback):
    """Callback that measures tokens and seconds of the steps after the warm-up."""

    def __init__(self) -> None:
        self.tokens, self.begun, self.ended = 0, 0.0, 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.ended = time.perf_counter()
        if batch_idx + 1 == WARM_UP:
            self.begun = self.ended
        if batch_idx + 1 > WARM_UP:
            self.tokens += int(batch.lengths.sum())


def disk_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(place, name)).st_size
            except OSError:  # removed meanwhile
                continue
    return total


def train_one(words: list[str], cache: Path) -> None:
    """Train in this process, and print what it took as JSON."""
    watch, most, over = Watch(), [0], threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            most[0] = max(most[0], disk_of(cache))

    threading.Thread(target=look, daemon=True).start()
    quiet()
    begun = time.perf_counter()
    cli = run_lightning("fit", words, callbacks=[watch])
    over.set()
    feeder = getattr(cli.datamodule, "feeder", None)
    peak, of_readers = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({
        "speed": watch.tokens / (watch.ended - watch.begun), "seconds": time.perf_counter() - begun,
        "MB": peak * RSS_BYTES / 1e6, "readers MB": of_readers * RSS_BYTES / 1e6, "disk MB": most[0] / 1e6,
        "waited": feeder.waited if feeder else 0.0, "first": feeder.begin_s if feeder else 0.0,
        "units": feeder.units_read if feeder else 0,
    }))  # fmt: skip


def main() -> None:
    """Measure both trainings and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=[*OPTIONS, "one"])
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--cache", type=Path)
    args, rest = parser.parse_known_args()
    if args.kind == "one":
        train_one(rest, args.cache)
        return
    print(describe())
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary, "data")
        data.mkdir()
        write_shards(data, args.kind, args.gigabytes)
        print(f"{args.kind}: {disk_of(data) / 1e9:.2f} GB in {len(list(data.iterdir()))} shards")
        words = [*OPTIONS[args.kind], "--data.path", str(data), "--runs", str(Path(temporary, "runs"))]
        words += ["--trainer.max_steps", str(args.steps + WARM_UP), "--trainer.limit_val_batches", "0"]
        words += ["--samples", "false", *rest]
        speeds: dict[str, list[float]] = {"false": [], "true": []}
        for i in range(args.repeats):
            for stream, done in speeds.items():
                cache = Path(temporary, f"cache-{stream}-{i}")
                command = [sys.executable, __file__, "one", "--cache", str(cache), *words, "--data.stream", stream]
                variables = {**os.environ, "HELICON_CACHE": str(cache)}
                ran = subprocess.run(command, env=variables, check=True, stdout=subprocess.PIPE, text=True)
                figures = json.loads(ran.stdout.splitlines()[-1])
                done.append(figures["speed"])
                print(
                    f"{'stream' if stream == 'true' else 'cached'}  {figures['speed']:8,.0f} tokens/s, "
                    f"{figures['seconds']:.0f} s in all, waited {figures['waited']:.1f} s "
                    f"and {figures['first']:.1f} s for the first batch, "
                    f"{figures['MB']:.0f} MB of memory ({figures['readers MB']:.0f} MB of a reader), "
                    f"{figures['disk MB']:.0f} MB of disk, {figures['units']} units", flush=True,
                )  # fmt: skip
        ratio = np.median(speeds["true"]) / np.median(speeds["false"])
        print(f"stream / cached: {ratio:.3f}")


if __name__ == "__main__":
    main()
