"""What random changes of pictures and sounds gain at the same steps: held-out loss with and without, by seed.

python benchmarks/augment.py WORLD DATA [--seeds 0 1 2] [--arms plain crop ...] [--steps N] [--quick] [--runs DIR]

WORLD and DATA: `tiles`, a codec of ../shared/data/pairs/tiles; `shapes`, a model of 200 pictures with captions that are
drawn here (DATA is where); `digits`, a model of 200 of ../shared/data/images/mnist_digits; `digit models` and
`tile models`, models of all pictures of DATA; `speech`, a codec of ../shared/data/audio/spoken_digits; `words`, a model
of 200 of them. Steps, unlike minutes, are the same on any machine: so many take about a minute of one quiet core.
Results are kept in DIR/augment.jsonl; what is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from machine import describe

from helicon.commands.fit import quiet
from helicon.demos.shapes import write_folder
from helicon.training.run import run_lightning
from helicon.training.runs.metrics import read_metrics

PICTURES = {
    "plain": {}, "flip": {"flip": 0.5}, "crop .9": {"crop": [0.9, 1]}, "crop .75": {"crop": [0.75, 1]},
    "crop .9, flip": {"crop": [0.9, 1], "flip": 0.5},
}  # fmt: skip
SOUNDS = {
    "plain": {}, "gain": {"gain": [-6, 6]}, "speed": {"speed": [0.9, 1.1]}, "shift": {"shift": [-0.05, 0.05]},
    "all": {"gain": [-6, 6], "speed": [0.9, 1.1], "shift": [-0.05, 0.05]},
}  # fmt: skip
NONE = {"crop": [1, 1], "flip": 0, "gain": [0, 0], "speed": [1, 1], "shift": [0, 0]}  # whatever the defaults are
OF_CODECS = {
    name: change for name, change in SOUNDS.items() if name in ("plain", "gain", "speed")
}  # they start anywhere
SMALL = ("--config=tiny", "--data.size=16", "--data.colours=64")
PIXELS = ("--config=image", *SMALL, '--data.layouts=["image[16x16]"]')
HALF = "--data.val_split=0.5"  # of 400 files, so that 200 are learned from


@dataclass(frozen=True)
class World:
    """What is trained, by which words of `fit`, with which changes; figure: of its metrics, larger is better or not."""

    words: Sequence[str]
    steps: int
    changes: Mapping[str, Mapping[str, Any]]
    figure: str
    larger: bool
    of_200: bool = False


WORLDS = {
    "tiles": World(("--config=image-codec-tiny",), 500, PICTURES, "val/psnr", True),
    "tile models": World(PIXELS, 500, PICTURES, "val/loss", False),
    "digit models": World(PIXELS, 500, PICTURES, "val/loss", False),
    "shapes": World(
        ("--config=text-to-image", *SMALL, HALF, "--data.layouts=[\"text[12] image[16x16]\"]", "--data.vocabulary=300",
         "--data.tokenizers={text: bpe, image: palette}"),
        250, PICTURES, "val/loss", False,
    ),
    "digits": World((*PIXELS, HALF), 250, PICTURES, "val/loss", False, True),
    "speech": World(("--config=audio-codec-tiny",), 300, OF_CODECS, "val/loss", False),
    "words": World(
        ("--config=audio", "--config=tiny", "--data.layouts=[\"audio\"]", "--data.tokenizers={audio: mulaw}",
         "--data.rate=2000", HALF),
        250, SOUNDS, "val/loss", False, True,
    ),
}  # fmt: skip


def main() -> None:
    """Trains for each seed and change, prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", choices=WORLDS)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--quick", action="store_true", help="a few steps of one seed, to see that it runs")
    parser.add_argument("--runs", type=Path, default=Path("runs/augment"))
    args = parser.parse_args()
    quiet()
    world = WORLDS[args.world]
    steps, seeds = (4, [0]) if args.quick else (args.steps or world.steps, args.seeds)
    kept = args.runs / "augment.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.touch()
    folder = prepared(args.world, args.data, args.runs)
    for seed in seeds:
        for arm in args.arms or world.changes:
            key = {"world": args.world, "steps": steps, "seed": seed, "arm": arm}
            if not any(key.items() <= row.items() for row in read(kept)):
                row = {**key, **trained(world, folder, world.changes[arm], key, args.runs)}
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                print(row, flush=True)
    rows = [row for row in read(kept) if (row["world"], row["steps"]) == (args.world, steps)]
    print(f"{args.world}, {steps} steps, {world.figure}\n{describe()}\n{table(world, rows)}")


def prepared(name: str, data: Path, runs: Path) -> Path:
    """The folder to train on: shapes are drawn; of a large folder 400 files are taken, of which half are held out."""
    if name == "shapes":
        if not data.exists():
            write_folder(data, 400, seed=0)
        return data
    if not WORLDS[name].of_200:
        return data
    folder, files = runs / name, sorted(each for each in data.rglob("*") if each.suffix in (".png", ".wav"))
    if not folder.exists():
        folder.mkdir(parents=True)
        for each in files[:: max(1, len(files) // 400)][:400]:
            shutil.copy(each, folder / f"{each.parent.name}-{each.name}")
    return folder


def trained(
    world: World, folder: Path, changes: Mapping[str, Any], key: Mapping[str, Any], runs: Path
) -> dict[str, float]:
    """The figure of the held-out part after the last step, and the best on the way."""
    known = {name for arm in world.changes.values() for name in arm}
    said = {name: changes.get(name, NONE[name]) for name in known}
    name = f"{key['world']}-{key['arm'].replace(' ', '').replace(',', '-')}-{key['seed']}"
    shutil.rmtree(runs / name, ignore_errors=True)  # of a measurement that was broken off
    words = [*world.words, f"--data.path={folder}", f"--data.changes={json.dumps(said)}", "--samples=false"]
    words += [f"--data.seed={key['seed']}", f"--trainer.max_steps={key['steps']}", f"--runs={runs}", f"--name={name}"]
    run_lightning("fit", [*words, f"--trainer.val_check_interval={max(1, key['steps'] // 5)}"])
    values = read_metrics(runs / name)[world.figure][1]
    return {"last": round(values[-1], 4), "best": round((max if world.larger else min)(values), 4)}


def read(kept: Path) -> list[dict[str, Any]]:
    """Results so far."""
    return [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]


def table(world: World, rows: Sequence[Mapping[str, Any]]) -> str:
    """A line a change: means over seeds, and for each seed how far that is from the run without changes."""
    lines = [f"{'changes':16} {'last':>8} {'best':>8}  last, against plain, by seed"]
    plain = {row["seed"]: row["last"] for row in rows if row["arm"] == "plain"}
    for arm in world.changes:
        found = [row for row in rows if row["arm"] == arm]
        if found:
            against = " ".join(f"{row['last'] - plain[row['seed']]:+.4f}" for row in found if row["seed"] in plain)
            last, best = (mean(row[name] for row in found) for name in ("last", "best"))
            lines.append(f"{arm:16} {last:8.4f} {best:8.4f}  {against}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
