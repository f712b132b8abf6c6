"""What parts of a recipe for small models gain at equal time: held-out nats a token, and the change by each variant.

python benchmarks/recipes.py TASK PATH [--minutes 2] [--seeds 0 1] [--only NAME ...] [--runs DIR] [options of fit]

Equal time is equal CPU time, so that a busy machine does not matter: run with OMP_NUM_THREADS=1. All else is as
`helicon train TASK PATH --size tiny` has it. Results are kept in DIR/TASK.jsonl, and what is there is not run again.
The table of docs/explanation/recipes.md, each --minutes 1:
    python benchmarks/recipes.py music ../shared/data/midi/chorales --data.batch_size 8
    python benchmarks/recipes.py text ../shared/data/text/tinyshakespeare.txt --data.val_split 0.1 --data.batch_size 8
    helicon demo text-to-image -o demo
    python benchmarks/recipes.py text-to-image demo/pictures --data.tokenizer demo/codec --data.vocabulary 512 \\
        --data.layouts '["text[12] image[]"]' --data.batch_size 64 --data.val_split 0.02
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from types import SimpleNamespace
from typing import Any

import pytorch_lightning.callbacks.timer as timer
from machine import describe

from helicon.bundle.storage import load_bundle
from helicon.commands.fit import quiet
from helicon.evaluation.losses import measure_losses
from helicon.presets import merge, preset
from helicon.training.options import typed_config
from helicon.training.plan import plan_gpt
from helicon.training.run import run_lightning
from helicon.training.runs.metrics import read_metrics
from helicon.training.settings.request import TrainRequest

# What the shapes tiny to large were before
BEFORE: dict[str, Any] = {"positions": "flat", "schedule": "cosine", "bias": True, "qk_norm": False, "tied": True}
KEPT: dict[str, Any] = {"positions": "rope", "schedule": "linear", "bias": False, "qk_norm": True}
VARIANTS: dict[str, dict[str, Any]] = {  # name -> options of `fit`, --model.*, in place of those before
    "before": {},
    "adamw": {"optimizer": "adamw", "lr": 3e-3},
    "rope": {"positions": "rope"},
    "linear": {"schedule": "linear"},
    "no bias": {"bias": False},
    "rms, no bias": {"norm": "rms", "bias": False},
    "qk-norm": {"qk_norm": True},
    "untied": {"tied": False},
    "relu2": {"mlp": "relu2"},
    "kept": KEPT,
    "kept, untied": {**KEPT, "tied": False},
    "kept, no qk-norm": {**KEPT, "qk_norm": False},
    "kept, cosine": {**KEPT, "schedule": "cosine"},
    "kept, adamw": {**KEPT, "optimizer": "adamw", "lr": 3e-3},
    "kept, relu2": {**KEPT, "mlp": "relu2"},
    "kept, rms": {**KEPT, "norm": "rms"},
}


def main() -> None:
    """Trains each variant for the same CPU time, measures all that is held out, prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task")
    parser.add_argument("path", type=Path)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", default=list(VARIANTS))
    parser.add_argument("--size", default="tiny")
    parser.add_argument("--runs", type=Path, default=Path("runs/recipes"))
    args, rest = parser.parse_known_args()
    quiet()
    count_cpu_time()
    kept = args.runs / f"{args.task}.jsonl"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.touch()
    for seed in args.seeds:
        for name in args.only:
            if not any((row["variant"], row["seed"]) == (name, seed) for row in read(kept)):
                row = {"variant": name, "seed": seed, **trained(args, name, seed, rest)}
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                print(row, flush=True)
    print(f"{args.task}, {args.minutes:g} minutes of CPU, {args.size}\n{describe()}\n{table(read(kept))}")


def count_cpu_time() -> None:
    """Lets the minutes of a training be those of this process on a CPU."""
    timer.time = SimpleNamespace(monotonic=time.process_time)  # type: ignore[attr-defined]


def trained(args: argparse.Namespace, name: str, seed: int, rest: Sequence[str]) -> dict[str, Any]:
    """Nats a token of all that is held out, and the steps that the time was enough for."""
    base = merge(preset(args.task), {"data": {"path": str(args.path)}})
    fixed = {"model": {**BEFORE, **VARIANTS[name]}, "trainer": {"limit_val_batches": 0}, "samples": False}
    run = f"{args.task}-{name.replace(',', '').replace(' ', '-')}-{seed}"
    request = TrainRequest(
        task=args.task, path=args.path, minutes=args.minutes, size=args.size, name=run, runs=args.runs, seed=seed,
        overrides=merge(typed_config(rest, base), fixed, {"weights": "last"}),
    )  # fmt: skip
    shutil.rmtree(args.runs / run, ignore_errors=True)  # of a measurement that was broken off
    plan = plan_gpt(request, lambda line: None)
    run_lightning("fit", plan.config)
    bundle = load_bundle(plan.run)
    (figures,) = measure_losses(bundle, plan.prepared, bundle.schema.layouts, val=True)
    steps = next(iter(read_metrics(plan.run).values()))[0][-1] + 1
    return {"nats": round(figures.nats_per_token, 4), "steps": steps, "tokens": figures.targets}


def read(kept: Path) -> list[dict[str, Any]]:
    """Results so far."""
    return [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A line a variant: mean over seeds, and over the seeds it shares with the first the change from that."""
    by_name: dict[str, dict[int, dict[str, Any]]] = {}
    for row in rows:
        by_name.setdefault(row["variant"], {})[row["seed"]] = row
    base = by_name.get("before", {})
    lines = [f"{'':22} {'nats':>8} {'change':>8} {'seeds':>6} {'steps':>7}"]
    for name, found in by_name.items():
        shared = found.keys() & base.keys()
        change = f"{mean(found[s]['nats'] - base[s]['nats'] for s in shared):+.4f}" if shared else "-"
        nats, steps = mean(row["nats"] for row in found.values()), mean(row["steps"] for row in found.values())
        lines.append(f"{name:22} {nats:8.4f} {change:>8} {len(found):6} {steps:7.0f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
