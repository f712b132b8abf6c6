"""GPT-1's fine-tuning: what a model that was trained before gains over one from scratch, with and without next tokens.

    python benchmarks/classify.py music ../shared/data/midi [--minutes 2] [--pretraining 6] [--quick]
    python benchmarks/classify.py tunes ../shared/data/midi/nottingham_folk
    python benchmarks/classify.py digits ../shared/data/images/mnist_digits

music: 5 folders, 20 labelled pieces each; tunes: 5 kinds of folk tune, 20 each; digits: 10 labels, 50 pictures each.
What is neither labelled nor asked is what the first model learns from, without labels. Each run has the same minutes;
accuracy is that of other pieces, drawn anew for each seed. Results are kept in DIR/classify.jsonl; what is there is not
run again.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
from pathlib import Path
from statistics import mean

from machine import describe

import helicon
from helicon.commands.fit import quiet

LABELS = {  # folders, and of tunes how the names of files begin
    "music": ("avgvst_game", "chopin", "chorales", "freedoom_game", "nottingham_folk"),
    "tunes": ("ashover", "hpps", "jigs", "reels", "waltzes"),
    "digits": tuple(map(str, range(10))),
}
LABELLED = {"music": 20, "tunes": 20, "digits": 50}  # pieces of each label
ASKED = {"music": 30, "tunes": 30, "digits": 100}  # of each label, at most
WORDS = {
    "music": ("--config=tiny",),
    "tunes": ("--config=tiny",),
    "digits": ("--config=tiny", "--data.size=16", "--data.colours=8"),
}
LAYOUT = {"music": "style[3] music", "tunes": "style[3] music", "digits": "image[16x16]"}
ARMS = [("trained before", 0.5), ("trained before", 0.0), ("from scratch", 0.5), ("from scratch", 0.0)]


def main() -> None:
    """Trains for each seed, start and weight, prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", choices=LAYOUT)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--steps", type=int, help="instead of minutes: the same on a busy machine, of batches of 8")
    parser.add_argument("--pretraining", type=float, default=6.0, metavar="MINUTES")
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes, one seed")
    parser.add_argument("--runs", type=Path, default=Path("runs/classify"))
    args = parser.parse_args()
    quiet()
    minutes, first, seeds = (0.1, 0.1, [0]) if args.quick else (args.minutes, args.pretraining, args.seeds)
    length = {"steps": args.steps} if args.steps else {"minutes": minutes}
    batch = ["--data.batch_size=8"] if args.steps else []
    runs, kept = args.runs / args.world, args.runs / "classify.jsonl"
    runs.mkdir(parents=True, exist_ok=True)
    kept.touch()
    pool, rest = split(args.world, args.data)
    base = pretrained(args.world, rest, runs, first)
    for seed in seeds:
        labelled, asked = folders(args.world, pool, seed, runs)
        for start, auxiliary in ARMS:
            key = {"world": args.world, **length, "seed": seed, "start": start, "auxiliary": auxiliary}
            if any(key.items() <= row.items() for row in read(kept)):
                continue
            name = f"{start.replace(' ', '-')}-{auxiliary:g}-{seed}"
            shutil.rmtree(runs / name, ignore_errors=True)
            layouts = json.dumps([LAYOUT[args.world]])
            words = () if start == ARMS[0][0] else (f"--data.layouts={layouts}", *WORDS[args.world])
            run = helicon.train(
                labelled, "classify", init_from=base if start == ARMS[0][0] else None, seed=seed, name=name, runs=runs,
                minutes=1000 if args.steps else minutes, steps=args.steps,
                options=[*words, *batch, f"--model.auxiliary={auxiliary}", "--data.val_split=0", "--samples=false"],
            )  # fmt: skip
            (report,) = helicon.evaluate(helicon.load(run), asked).objective.values()
            figures = ("accuracy", "nats_per_label", "pieces")
            row = {**key, **{figure: report[figure] for figure in figures}}
            with kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(row, flush=True)
    print(table([row for row in read(kept) if {"world": args.world, **length}.items() <= row.items()]))


def split(world: str, data: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """Label -> its files, labelled and asked together, and all the others."""
    files = sorted(each for each in data.rglob("*") if each.suffix in (".mid", ".png"))
    most, pool = LABELLED[world] + ASKED[world], {}
    for label in LABELS[world]:
        mine = [each for each in files if (each.name if world == "tunes" else each.parent.name).startswith(label)]
        random.Random(0).shuffle(mine)
        pool[label] = mine[:most]
    taken = {each for several in pool.values() for each in several}
    return pool, [each for each in files if each not in taken]


def pretrained(world: str, files: list[Path], runs: Path, minutes: float) -> Path:
    """A model of the other files, without labels."""
    run = runs / f"base-{minutes:g}"
    if not (run / "model").is_dir():
        folder = runs / "rest"
        folder.mkdir(exist_ok=True)
        for number, each in enumerate(files):
            shutil.copy(each, folder / f"{number}{each.suffix}")
        shutil.rmtree(run, ignore_errors=True)
        words = [*WORDS[world], "--samples=false"]
        layout = LAYOUT[world]
        helicon.train(folder, layout=layout, minutes=minutes, name=run.name, runs=runs, options=words)
    return run


def folders(world: str, pool: dict[str, list[Path]], seed: int, runs: Path) -> tuple[Path, Path]:
    """A folder with the labelled files of a seed, and one with those that are asked."""
    found = runs / f"labelled-{seed}", runs / f"asked-{seed}"
    for label, files in pool.items():
        order = random.Random(seed).sample(files, len(files))
        parts = order[: LABELLED[world]], order[LABELLED[world] :]
        for folder, part in zip(found, parts):
            (folder / label).mkdir(parents=True, exist_ok=True)
            for each in part:
                shutil.copy(each, folder / label / each.name)
    return found


def read(path: Path) -> list[dict[str, object]]:
    """Results so far."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def table(rows: list[dict[str, object]]) -> str:
    """Accuracy of each arm: by seed, and the mean."""
    lines = [describe(), f"{'start':16} {'next token x':>12} {'mean accuracy':>14}  each seed"]
    for start, auxiliary in ARMS:
        found = [float(str(row["accuracy"])) for row in rows if (row["start"], row["auxiliary"]) == (start, auxiliary)]
        if found:
            each = " ".join(f"{100 * accuracy:.1f}" for accuracy in found)
            lines.append(f"{start:16} {auxiliary:12g} {100 * mean(found):12.1f} %  {each}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
