"""Whether training waits for its data: batches a second of the loader alone, time a step, share of it spent waiting.

python benchmarks/loading.py ../shared/data [--steps 30] [--only music text ...] [--workers 0 2] [options of fit]

A model of the size `small` is trained as `helicon fit` does it, on each medium, without workers (a thread makes the
next batches) and with some. Beside it: tokens fed, as a share of those of a batch of full sequences, and how much of it
is padding. The codecs of pictures and sound are trained for a few steps: what they know does not matter here.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytorch_lightning as pl
from machine import describe

from helicon.commands.fit import quiet
from helicon.training.learning.data import SequenceData
from helicon.training.run import HeliconCLI, run_lightning

WARM_UP = 5  # steps
# medium -> preset, data below the folder, more options
WORLDS: dict[str, tuple[str, str, list[str]]] = {
    "music": ("music", "midi/chorales", []),
    "long music": ("music", "midi/beethoven", []),
    "text": ("text", "text/tinyshakespeare.txt", []),
    "captions": ("text", "pairs/tiles", []),
    "pictures": ("image", "images/grocery", ["--data.tokenizer", "image-codec"]),
    "sound": ("audio", "audio/spoken_digits", ["--data.tokenizers.audio", "audio-codec"]),
}
CODECS = {
    "image-codec": ["--config", "image-codec-tiny", "--data.path", "images/grocery"],
    "audio-codec": ["--config", "audio-codec-tiny", "--data.path", "audio/spoken_digits"],
}


class Watch(pl.Callback):
    """Wall time of the steps after the warm-up, and how much of it goes by in asking for a batch."""

    def __init__(self) -> None:
        self.steps, self.waited, self.since, self.begun = 0, 0.0, 0.0, 0.0

    def timed(self, batches: Any) -> Iterator[Any]:
        """The same batches."""
        source = iter(batches)
        while True:
            asked = time.perf_counter()
            batch = next(source)
            self.waited += time.perf_counter() - asked
            yield batch

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        self.steps += 1
        if self.steps == WARM_UP:
            self.waited, self.begun = 0.0, time.perf_counter()
        self.since = time.perf_counter() - self.begun


class Timed:
    """What Lightning takes for a loader: one whose batches are asked for under a watch."""

    def __init__(self, loader: Any, watch: Watch) -> None:
        self.loader, self.watch = loader, watch

    def __iter__(self) -> Iterator[Any]:
        return self.watch.timed(self.loader)


def main() -> None:
    """Prints a line for each medium and number of workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with midi, text, pairs, images and audio")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--only", nargs="+", choices=WORLDS, default=list(WORLDS))
    args, rest = parser.parse_known_args()
    quiet()
    print(f"{describe()}\n")
    print("| data | workers | waits, % of the time | ms a step | batches/s of the loader alone | fed, % | padding, % |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    with TemporaryDirectory() as folder:
        os.environ.setdefault("HELICON_CACHE", str(Path(folder) / "cache"))
        for name in args.only:
            for workers in args.workers:
                print(row(name, workers, args, Path(folder), rest), flush=True)


def row(name: str, workers: int, args: argparse.Namespace, folder: Path, rest: list[str]) -> str:
    """One line of the table."""
    preset, path, more = WORLDS[name]
    options = ["--config", preset, "--config", "small", "--data.path", str(args.data / path), *more, *rest]
    options += ["--runs", str(folder), "--samples", "false", "--trainer.limit_val_batches", "0"]
    options += ["--trainer.max_steps", str(args.steps + WARM_UP), "--data.workers", str(workers)]
    with contextlib.redirect_stderr(io.StringIO()):
        options = [str(codec(word, args.data, folder)) if word in CODECS else word for word in options]
        cli = HeliconCLI("fit", options)
        watch, data = Watch(), cli.datamodule
        assert isinstance(data, SequenceData)
        make = data.train_dataloader
        data.train_dataloader = lambda: Timed(make(), watch)  # type: ignore[method-assign,return-value]
        cli.trainer.callbacks.append(watch)  # type: ignore[attr-defined]
        cli.trainer.fit(cli.model, data)
        alone, fed, padding = loader_alone(data, args.steps)
    steps = watch.steps - WARM_UP
    waits, step_ms = 100 * watch.waited / watch.since, 1e3 * watch.since / steps
    return f"| {name} | {workers} | {waits:.2f} | {step_ms:.0f} | {alone:.0f} | {fed:.1f} | {padding:.1f} |"


def codec(name: str, data: Path, folder: Path) -> Path:
    """The run of a codec, trained once."""
    run = folder / name
    if not run.exists():
        _, config, _, path = CODECS[name]
        words = ["--config", config, "--data.path", str(data / path), "--runs", str(folder), "--name", name]
        run_lightning("fit", [*words, "--trainer.max_steps", "20", "--samples", "false"])
    return run


def loader_alone(data: SequenceData, count: int) -> tuple[float, float, float]:
    """(batches a second, % of a full batch's tokens that are fed, % of padding), made one after the other."""
    batches: Any = data.train_dataloader().loader.dataset  # type: ignore[attr-defined]
    began = time.perf_counter()
    found = [batches.batch(t) for t in range(count)]
    spent = time.perf_counter() - began
    layouts = [data.sequencer.schema.layouts[batch.layout] for batch in found]
    full = sum(data.batch_size * (layout.prefix + data.sequencer.target_capacity(layout)) for layout in layouts)
    fed = sum(int(batch.lengths.sum()) for batch in found)
    padded = sum(batch.ids.numel() for batch in found)
    return count / spent, 100 * fed / full, 100 * (1 - fed / padded)


if __name__ == "__main__":
    sys.exit(main())
