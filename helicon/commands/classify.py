"""`helicon classify`: the label of each file, with its probability."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

from helicon.evaluation.classification import classify_files
from helicon.formats.printable import print_text, printable
from helicon.generation.runtime import RuntimeConfig, choose_device, naming_model

TOP = 3  # labels a line


def classify(args: Namespace) -> int:
    """Runs the command: a line for each file, the likeliest labels first."""
    top = TOP if args.top is None and not args.json else args.top
    bundle = RuntimeConfig(choose_device(args.device)).load(Path(args.model))
    with naming_model(args.model):
        found = classify_files(bundle, [Path(file) for file in args.files], args.batch, top)
    if args.json:
        print_text(json.dumps([each.as_json() for each in found], indent=1))
        return 0
    for each in found:
        labels = "  ".join(f"{printable(name)} {p:.3f}" for name, p in each.probabilities.items())
        print_text(f"{printable(each.file)}  {labels}")
    return 0
