"""Nats a byte on the last tenth of Shakespeare: minutes of `helicon train text`, and nanoGPT's recipe for a CPU.

python benchmarks/shakespeare.py ../shared/data/text/tinyshakespeare.txt [--minutes 3] [--cpu] [options of train text]

With --cpu the minutes are of CPU time, for a busy machine; one thread then: OMP_NUM_THREADS=1.

The first nine tenths are trained on: by `helicon train text` as it comes, and by the preset `nanogpt-shakespeare`, once
for its 2,000 steps and once for the minutes, over which its learning rate then falls. Both keep a few of these bytes to
validate on. All are measured as `helicon eval` does: on every byte of the last tenth, in windows as long as the model's
context, each half a window further.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from machine import describe
from recipes import count_cpu_time

from helicon.bundle.storage import load_bundle
from helicon.cli import main as helicon
from helicon.commands.fit import quiet
from helicon.evaluation.losses import measure_losses, open_folder
from helicon.training.plan_config import format_duration
from helicon.training.runs.metrics import read_metrics


def main() -> None:
    """Cuts the text, trains, measures, prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--cpu", action="store_true")
    args, rest = parser.parse_known_args()
    quiet()
    now = time.process_time if args.cpu else time.monotonic
    if args.cpu:
        count_cpu_time()
    with tempfile.TemporaryDirectory() as folder:
        train, last = cut(args.path, Path(folder))
        words = ["fit", "--config", "nanogpt-shakespeare", "--data.path", str(train), "--samples", "false"]
        limit = ["--trainer.max_steps", "-1", "--trainer.max_time", format_duration(round(60 * args.minutes))]
        ways = {
            "helicon train text": [*("train", "text", str(train), "--minutes", str(args.minutes)), *rest],
            "nanoGPT's recipe": words,
            "nanoGPT's, so long": [*words, *limit],
        }
        lines = [f"{'':20} {'nats/byte':>10} {'against':>8} {'steps':>7} {'minutes':>8}"]
        figures = {}
        for number, (name, arguments) in enumerate(ways.items()):
            begun = now()
            run = trained([*arguments, "--runs", folder, "--name", f"run-{number}"], Path(folder) / f"run-{number}")
            minutes = (now() - begun) / 60
            figures[name], steps = nats_per_byte(run, last), read_metrics(run)["train/text"][0][-1] + 1
            change = figures[name] - figures["helicon train text"]
            lines.append(f"{name:20} {figures[name]:10.4f} {change:+8.4f} {steps:7,} {minutes:8.1f}")
    print("\n".join([describe(), *lines]))


def cut(path: Path, folder: Path) -> tuple[Path, Path]:
    """Files of the first nine tenths of a text's bytes, and of the rest."""
    data = path.read_bytes()
    train, last = folder / "train.txt", folder / "last.txt"
    train.write_bytes(data[: len(data) * 9 // 10])
    last.write_bytes(data[len(data) * 9 // 10 :])
    return train, last


def trained(arguments: Sequence[str], run: Path) -> Path:
    """The run that a command line of ours leaves."""
    if helicon(list(arguments)):
        raise SystemExit(f"helicon {' '.join(arguments)} failed")
    return run


def nats_per_byte(run: Path, text: Path) -> float:
    """As `helicon eval RUN --data.path TEXT` says."""
    bundle = load_bundle(run)
    (figures,) = measure_losses(bundle, *open_folder(bundle, text))
    return figures.nats / figures.units["byte"]


if __name__ == "__main__":
    main()
