"""`helicon tokenize` and `helicon detokenize`: print files as tokens (words or ids), and write files of them."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from helicon.bundle.printed_tokens import decoder, tokens_of
from helicon.bundle.storage import load_bundle
from helicon.cli.errors import CommandError, reason
from helicon.commands.outputs import output_folder
from helicon.formats.files import read_regular
from helicon.formats.printable import MAX_QUOTED, print_text, printable
from helicon.formats.read_report import repaired
from helicon.modalities.base import MODALITIES
from helicon.sources.local import local_file

MAX_BYTES = 16 << 20  # of a file of printed tokens, which is read into memory; some million tokens


def tokenize(args: Namespace) -> int:
    """Run `helicon tokenize` with its parsed options: print a line per document; return the exit status.

    What reading dropped or repaired is printed on standard error, a line per file. An unreadable file is named there,
    and the status is 1.
    """
    bundle = load_bundle(Path(args.run)) if args.run else None
    faults = 0
    for name in args.files:
        try:
            lines, report = tokens_of(local_file(name), bundle, args.ids)
        except (OSError, ValueError) as error:
            faults += 1
            print_text(f"helicon: {name}: {printable(reason(error), MAX_QUOTED)}", sys.stderr)
            continue
        if report.counts:
            print_text(repaired(report.counts, printable(name, MAX_QUOTED)), sys.stderr)
        print_text("\n".join(lines))  # not within `try`: a reader that has gone away is no fault of the file
    return 1 if faults else 0


def detokenize(args: Namespace) -> int:
    """Run `helicon detokenize` with its parsed options: write a file for each line; return the exit status."""
    bundle, out = load_bundle(Path(args.run)) if args.run else None, Path(args.out)
    try:
        printed = read_regular(args.file, MAX_BYTES).decode()
    except UnicodeDecodeError as error:
        raise CommandError(f"{args.file}: not UTF-8 at byte {error.start}") from None
    lines = [line for line in printed.splitlines() if line.strip()]
    if not lines:
        raise CommandError(f"{args.file}: empty; one piece a line is expected, as `helicon tokenize` prints")
    decode = decoder(bundle, args.ids)
    with output_folder(out.parent):
        for number, line in enumerate(lines):
            try:
                media, modality = decode(line)
            except ValueError as error:
                raise CommandError(f"{args.file}, line {number + 1}: {printable(error, MAX_QUOTED)}") from None
            target = out if len(lines) == 1 else out.with_name(f"{out.stem}-{number:03d}{out.suffix}")
            with MODALITIES.running(modality.name, accepted=(OSError,)):
                modality.write(media, target)
    return 0
