"""The three quantizers on the same pictures for the same minutes, side by side.

python benchmarks/codecs.py DIR --minutes 15 [--size 64] [--factor 4] [--runs runs/codecs]
"""

from __future__ import annotations

import argparse
from pathlib import Path

from helicon.commands.fit import quiet
from helicon.training.plan_config import format_duration
from helicon.training.run import run_lightning
from helicon.training.runs.metrics import read_metrics

COLUMNS = {
    "share of error": "val/loss",
    "PSNR dB": "val/psnr",
    "codes used": "val/usage",
    "perplexity": "val/perplexity",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--factor", type=int, default=4)
    parser.add_argument("--quantizers", nargs="+", default=["ema", "gumbel", "fsq"])
    parser.add_argument("--runs", type=Path, default=Path("runs/codecs"))
    args = parser.parse_args()
    quiet()
    for quantizer in args.quantizers:
        words = ["--config", "image-codec", "--data.path", str(args.folder), "--data.size", str(args.size)]
        words += ["--model.factor", str(args.factor), "--model.quantizer", quantizer, "--samples", "false"]
        words += [
            "--trainer.max_time",
            format_duration(round(60 * args.minutes)),
            "--trainer.val_check_interval",
            "00:00:01:00",
        ]
        run_lightning("fit", [*words, "--name", quantizer, "--runs", str(args.runs)])
    print(f"{args.minutes:g} minutes each\n{'':8}" + "".join(f"{name:>16}" for name in [*COLUMNS, "steps"]))
    for quantizer in args.quantizers:
        metrics = read_metrics(args.runs / quantizer)
        cells = [metrics[key][1][-1] for key in COLUMNS.values()] + [metrics["val/loss"][0][-1]]
        print(f"{quantizer:8}" + "".join(f"{cell:16.4g}" for cell in cells))


if __name__ == "__main__":
    main()
