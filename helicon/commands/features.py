"""`helicon features`: write the mean hidden states of layers for the files of a folder."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from helicon.bundle.storage import load_bundle
from helicon.cli.errors import CommandError
from helicon.evaluation.features import folder_features
from helicon.formats.printable import print_text
from helicon.generation.runtime import choose_device, naming_model
from helicon.sources.places import as_place


def features(args: Namespace) -> int:
    """Run `helicon features` with its parsed options; return the exit status."""
    out = Path(args.out)
    if out.is_dir():
        raise CommandError(f"-o {out}: is a folder, a file such as features.npz is needed")
    bundle = load_bundle(Path(args.model), choose_device(args.device))
    layers = chosen_layers(args.layer, bundle.gpt.config.layers)
    manifest = Path(args.manifest) if args.manifest else None
    with naming_model(args.model):
        result = folder_features(bundle, as_place(args.path), layers, to=args.to, manifest=manifest, batch=args.batch)
    result.save(out)
    print_text("\n".join(result.reading), sys.stderr)
    labels = len(set(filter(None, result.labels)))
    print_text(
        f"layout     {result.layout}\npieces     {len(result.names):,}, {labels} labels\n"
        f"wrote      {out}: {bundle.gpt.config.width} numbers each of layer {', '.join(map(str, result.layers))}",
        sys.stderr,
    )
    return 0


def chosen_layers(text: str, last: int) -> list[int] | None:
    """Parse the value of --layer.

    Args:
        text: an index, several as in `2,4,6`, or `all`.
        last: number of layers of the model, the greatest index, for the message.

    Returns:
        Indices of layers, not checked to be in range; None for `all`.

    Raises:
        CommandError: another word.
    """
    if text == "all":
        return None
    words = text.split(",")
    if not all(word.strip().isdecimal() for word in words):
        raise CommandError(f"--layer {text}: a number, several as in 2,4,6, or all; 0 to {last} are there")
    return [int(word) for word in words]
