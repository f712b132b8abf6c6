"""`helicon doctor`: what this machine has, and one line for each thing that would help."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from helicon.doctor import examine


def doctor(args: Namespace) -> int:
    """Runs the command. What is missing is no error: the status is 0."""
    findings = examine(Path("runs"))
    if args.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=1, ensure_ascii=False))
        return 0
    for finding in findings:
        print(f"{finding.name:<18} {finding.found}")
        if finding.fix:
            print(f"{'':18} -> {finding.fix}")
    return 0
