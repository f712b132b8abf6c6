"""`helicon doctor`: what this machine has, and one line for each thing that would help."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from helicon.doctor import examine
from helicon.formats.files import json_text
from helicon.formats.printable import print_text


def doctor(args: Namespace) -> int:
    """Runs the command. What is missing is no error: the status is 0."""
    findings = examine(Path("runs"))
    if args.json:
        print_text(json_text([asdict(finding) for finding in findings]))
        return 0
    for finding in findings:
        print_text(f"{finding.name:<18} {finding.found}")
        if finding.fix:
            print_text(f"{'':18} -> {finding.fix}")
    return 0
