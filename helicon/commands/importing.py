"""`helicon import`: make a bundle of a GPT-2, nanoGPT or ImageGPT checkpoint."""

from __future__ import annotations

import shlex
import sys
from argparse import Namespace
from pathlib import Path

from helicon.bundle.importing.folder import import_folder
from helicon.bundle.storage import save_bundle
from helicon.commands.outputs import output_folder
from helicon.formats.printable import print_text


def import_model(args: Namespace) -> int:
    """Run `helicon import` with its parsed options; return the exit status."""
    out = Path(args.out)
    with output_folder(out, new=True):
        bundle = import_folder(Path(args.folder), lambda line: print_text(line, sys.stderr))
        save_bundle(bundle, out)
    config, quoted = bundle.gpt.config, shlex.quote(str(out))
    (layout,) = bundle.schema.layouts
    size = f"{bundle.gpt.parameter_count() / 1e6:,.1f} M parameters, {config.layers} layers"
    print_text(
        f"model      {size}, layout `{layout}`, {bundle.schema.context} tokens of context\nwrote      {out}\n"
        f"next       helicon generate {quoted} -n 4 -o out\n"
        f"           helicon train {layout.target.name} DIR --from {quoted}",
        sys.stderr,
    )
    return 0
