"""What a moving average of the weights gains at the same steps: held-out nats a token; what captions of shapes ask for.

python benchmarks/ema.py chorales PATH [--steps 400] [--seeds 0 1 2] [--decays 0.97 0.99] [--size tiny] [--runs DIR]
python benchmarks/ema.py shapes DEMO [--steps 1350] ...       DEMO is the folder of `helicon demo text-to-image`

An average does not change how a model is trained: both are measured on the same run, and steps, unlike minutes, are the
same on any machine; so many take three minutes of one quiet core. Results are kept in DIR/ema.jsonl, and what is there
is not run again.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from machine import describe

from helicon.bundle.bundle import Bundle
from helicon.bundle.storage import load_bundle
from helicon.commands.fit import quiet
from helicon.data.prepared import Prepared
from helicon.demos.pictures import PictureWorld
from helicon.demos.shape_checker import CHANCE
from helicon.evaluation.losses import measure_losses
from helicon.training.run import HeliconCLI, run_lightning
from helicon.training.runs.checkpoints import read_checkpoint

STEPS = {"chorales": 400, "shapes": 1350}
CAPTIONS, SAMPLES = 128, 4
ATTRIBUTES = [name for name in CHANCE if name != "all_right"]


def main() -> None:
    """Trains for each seed and decay, measures the weights and their average, prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", choices=["chorales", "shapes"])
    parser.add_argument("path", type=Path)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--decays", type=float, nargs="+", default=[0.97, 0.99])
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--runs", type=Path, default=Path("runs/ema"))
    args = parser.parse_args()
    args.steps = args.steps or STEPS[args.world]
    quiet()
    kept = args.runs / "ema.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.touch()
    for seed in args.seeds:
        for decay in args.decays:
            key = {"world": args.world, "size": args.size, "steps": args.steps, "seed": seed, "decay": decay}
            if not any(key.items() <= row.items() for row in read(kept)):
                row = {**key, **trained(args, seed, decay)}
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                print(row, flush=True)
    rows = [
        row for row in read(kept) if (row["world"], row["size"], row["steps"]) == (args.world, args.size, args.steps)
    ]
    print(f"{args.world}, {args.steps} steps, {args.size}\n{describe()}\n{table(rows)}")


def trained(args: argparse.Namespace, seed: int, decay: float) -> dict[str, Any]:
    """Figures of the last step's weights, `plain`, and of their average, `ema`."""
    name = f"{args.world}-{seed}-{decay:g}"
    shutil.rmtree(args.runs / name, ignore_errors=True)  # of a measurement that was broken off
    words = [*source(args), f"--model.ema={decay}", f"--data.seed={seed}", f"--trainer.max_steps={args.steps}"]
    words += ["--samples=false", "--weights=last", "--trainer.limit_val_batches=0", f"--runs={args.runs}"]
    data = HeliconCLI("fit", words).datamodule
    run = run_lightning("fit", [*words, f"--name={name}"]).run_folder
    data.prepare_data()
    average, plain = load_bundle(run), load_bundle(run)
    weights = read_checkpoint(run / "checkpoints" / "last.ckpt")["current_model_state"]
    plain.gpt.load_state_dict({name.removeprefix("network.gpt."): tensor for name, tensor in weights.items()})
    return {kind: figures(args, bundle, data.prepared) for kind, bundle in (("plain", plain), ("ema", average))}


def source(args: argparse.Namespace) -> list[str]:
    """Arguments of `fit`: what is trained, on what."""
    if args.world == "chorales":
        return ["--config=music", f"--config={args.size}", f"--data.path={args.path}", "--data.batch_size=8"]
    words = ["--config=text-to-image", f"--config={args.size}", f"--data.path={args.path / 'pictures'}"]
    words += [f"--data.tokenizer={args.path / 'codec'}", "--data.vocabulary=512", "--data.batch_size=64"]
    return [*words, '--data.layouts=["text[12] image[]"]', "--data.val_split=0.02"]


def figures(args: argparse.Namespace, bundle: Bundle, prepared: Prepared) -> dict[str, float]:
    """Nats a token of all that is held out; of shapes the share of attributes, and of pictures, as captions ask."""
    (losses,) = measure_losses(bundle, prepared, bundle.schema.layouts, val=True)
    found = {"nats": round(losses.nats_per_token, 4)}
    if args.world == "shapes":
        world = PictureWorld(args.path)
        shown = world.figures(world.sample(bundle, world.draw_held_out(CAPTIONS), SAMPLES))
        found |= {"attributes": round(mean(shown[name] for name in ATTRIBUTES), 4), "all right": shown["all_right"]}
    return found


def read(kept: Path) -> list[dict[str, Any]]:
    """Results so far."""
    return [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A line a decay and figure: means over seeds of the weights and of their average, and each seed's change."""
    lines = [f"{'decay':>6} {'figure':>12} {'plain':>8} {'ema':>8}  change by seed"]
    for decay in sorted({row["decay"] for row in rows}):
        found = [row for row in rows if row["decay"] == decay]
        for name in found[0]["plain"]:
            plain, ema = ([row[kind][name] for row in found] for kind in ("plain", "ema"))
            changes = " ".join(f"{after - before:+.4f}" for before, after in zip(plain, ema))
            lines.append(f"{decay:6g} {name:>12} {mean(plain):8.4f} {mean(ema):8.4f}  {changes}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
