"""`helicon classify`: the label of each file, with its probability."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

from helicon.evaluation.classification import classify_files
from helicon.formats.printable import print_text, printable
from helicon.generation.runtime import RuntimeConfig, choose_device, naming_model
from helicon.sources.local import local_file

TOP = 3  # labels on a line, unless --top is set: more do not fit a terminal; --json prints all


def classify(args: Namespace) -> int:
    """Run `helicon classify` with its parsed options: print a line of labels for each file; return the exit status."""
    top = TOP if args.top is None and not args.json else args.top
    bundle = RuntimeConfig(choose_device(args.device)).load(Path(args.model))
    with naming_model(args.model):
        results = classify_files(bundle, [local_file(file) for file in args.files], args.batch, top)
    if args.json:
        print_text(json.dumps([result.as_json() for result in results], indent=1))
        return 0
    for result in results:
        labels = "  ".join(f"{printable(name)} {p:.3f}" for name, p in result.probabilities.items())
        print_text(f"{printable(result.file)}  {labels}")
    return 0
