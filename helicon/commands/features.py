"""`helicon features`: what a layer makes of the files of a folder, as numbers."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from helicon.bundle.storage import load_bundle
from helicon.cli import CommandError
from helicon.evaluation.features import check_layers, layer_features, write_features
from helicon.evaluation.losses import open_folder
from helicon.formats.printable import MOST, print_text, printable
from helicon.generation.runtime import choose_device, naming_model


def features(args: Namespace) -> int:
    """Runs the command."""
    out = Path(args.out)
    if out.is_dir():
        raise CommandError(f"-o {out}: is a folder, a file such as features.npz is needed")
    if args.batch < 1:
        raise CommandError(f"--batch must be 1 or more, got {args.batch}")
    bundle = load_bundle(Path(args.model), choose_device(args.device))
    layers = chosen_layers(args.layer, bundle.gpt.config.layers)
    made = [layout.last.name for layout in bundle.schema.layouts]
    if args.to is not None and args.to not in made:
        raise CommandError(f"--to {args.to}: this model makes {', '.join(dict.fromkeys(made))}")
    manifest = Path(args.manifest) if args.manifest else None
    prepared, layouts = open_folder(bundle, Path(args.path), manifest)
    found = [(c, y) for c, y in zip(prepared.corpora, layouts) if args.to in (None, y.last.name)]
    if not found:
        raise CommandError(f"--to {args.to}: the files are those of {'; '.join(map(str, layouts))}")
    corpus, layout = found[0]
    with naming_model(args.model):
        write_features(out, layer_features(bundle, corpus, layout, layers, args.batch), corpus)
    for name, reason in prepared.skipped.items():
        print_text(f"skipped    {printable(name)}: {printable(reason, MOST)}", sys.stderr)
    labels = len({label for label in corpus.labels if label})
    print_text(
        f"layout     {layout}\nfiles      {len(corpus):,} pieces, {labels} labels\n"
        f"wrote      {out}: {bundle.gpt.config.width} numbers each of layer {', '.join(map(str, layers))}",
        sys.stderr,
    )
    return 0


def chosen_layers(text: str, last: int) -> list[int]:
    """Layers of `8`, `2,4,6` or `all`; CommandError names the range."""
    if text == "all":
        return list(range(last + 1))
    words = text.split(",")
    if not all(word.strip().isdecimal() for word in words):
        raise CommandError(f"--layer {text}: a number, several as in 2,4,6, or all; 0 to {last} are there")
    layers = sorted({int(word) for word in words})
    try:
        check_layers(layers, last)
    except ValueError as error:
        raise CommandError(f"--{error}") from None
    return layers
