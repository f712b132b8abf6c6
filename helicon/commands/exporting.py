"""`helicon export`: write a model for transformers or llama.cpp."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from helicon.bundle.exporting.export import export_bundle
from helicon.bundle.storage import load_bundle
from helicon.commands.outputs import output_folder
from helicon.formats.printable import print_text
from helicon.objectives.classify import Classifier
from helicon.objectives.registry import name_of


def export(args: Namespace) -> int:
    """Run `helicon export` with its parsed options; return the exit status."""
    out, bundle = Path(args.out), load_bundle(Path(args.model))
    with output_folder(out, new=True):
        family = export_bundle(bundle, out, args.to)
    size = f"{bundle.gpt.parameter_count() / 1e6:,.1f} M parameters, {bundle.schema.context} tokens of context"
    names = ", ".join(sorted(path.name for path in out.iterdir() if not path.name.startswith(".")))
    print_text(f"model      {family.name}, {size}\nwrote      {out}: {names}", sys.stderr)
    if bundle.objective.kept and not isinstance(bundle.network, Classifier):
        parts = f"{', '.join(bundle.objective.kept)} of the objective {name_of(bundle.objective)}"
        print_text(f"left out   {parts}, which has no place there", sys.stderr)
    return 0
