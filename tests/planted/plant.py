"""Plants the faults of faults.toml in a copy of the tree, one at a time, and says which of them the tests notice.

python tests/planted/plant.py [WORD ...] [--whole]

The tests of a fault's room run first, once without any fault; with --whole, those it survives run the whole suite.
Words choose faults by what they say. Exits with 1 when a fault survives or its text is not in the tree any more.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPIED = (
    "helicon", "tests", "examples", "benchmarks", "docs", ".ci", ".github", "pyproject.toml", "mkdocs.yml", "LICENSE",
    "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "README.md", "SECURITY.md",
)  # fmt: skip
KILLED, SURVIVED, STALE, BROKEN = "killed", "SURVIVED", "STALE", "BROKEN"
TESTS_FAILED, NONE_COLLECTED = 1, 5  # of pytest's exit codes


@dataclass
class Fault:
    """One edit that a person could have made. tests: paths of its room, of which `::` and `-k` are no part."""

    what: str
    file: str
    old: str
    new: str
    tests: list[str]


def read_faults(words: Sequence[str]) -> list[Fault]:
    """Those of the table that say one of the words; all without any."""
    table = tomllib.loads(Path(__file__).with_name("faults.toml").read_text(encoding="utf-8"))
    faults = [Fault(**row) for row in table["fault"]]
    return [fault for fault in faults if not words or any(word in f"{fault.file} {fault.what}" for word in words)]


def copy_tree(folder: Path) -> Path:
    """The tree as it is, uncommitted changes included, beside the same shared data."""
    tree = folder / "tree"
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            tree.mkdir(exist_ok=True)
            shutil.copy(source, tree / name)
    shared = ROOT.parent / "shared"
    if shared.is_dir():
        (folder / "shared").symlink_to(shared)
    return tree


def run_tests(tree: Path, tests: Sequence[str]) -> tuple[str, str]:
    """What became of the fault that is in the tree, and the first test that failed."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--tb=no", *tests],
        cwd=tree, env={**os.environ, "PYTHONPATH": str(tree)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    first = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if done.returncode == TESTS_FAILED and first:
        return KILLED, first[1]
    if done.returncode in (0, NONE_COLLECTED):
        return SURVIVED, ""
    return BROKEN, (done.stdout + done.stderr)[-400:].strip()


def plant(tree: Path, fault: Fault, whole: bool, passed: dict[tuple[str, ...], bool]) -> tuple[str, str]:
    """The outcome of one fault; the tree is as it was afterwards. passed: which tests do without a fault."""
    file = tree / fault.file
    text = file.read_text(encoding="utf-8")
    if text.count(fault.old) != 1:
        return STALE, f"its text is {text.count(fault.old)} times in {fault.file}"
    room = tuple(fault.tests)
    if room not in passed:
        passed[room] = run_tests(tree, room)[0] == SURVIVED
    if not passed[room]:
        return BROKEN, f"{' '.join(room)} fail without it"
    file.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    try:
        outcome = run_tests(tree, fault.tests)
        return run_tests(tree, ["tests"]) if whole and outcome[0] == SURVIVED else outcome
    finally:
        file.write_text(text, encoding="utf-8")


def main() -> int:
    """Prints a line for each fault and a count of each outcome."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--whole", action="store_true", help="the whole suite for those that survive their room")
    args = parser.parse_args()
    outcomes: list[str] = []
    passed: dict[tuple[str, ...], bool] = {}
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        tree = copy_tree(Path(folder))
        for fault in read_faults(args.words):
            outcome, detail = plant(tree, fault, args.whole, passed)
            outcomes.append(outcome)
            print(f"{outcome:8}  {fault.file}: {fault.what}{f'  [{detail}]' if detail else ''}", flush=True)
    print(", ".join(f"{outcomes.count(name)} {name}" for name in (KILLED, SURVIVED, STALE, BROKEN)))
    return int(any(outcome != KILLED for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
