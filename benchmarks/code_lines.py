"""Lines of code of each room of the package, without docstrings, comments and blank lines, at some commits and now.

python benchmarks/code_lines.py [COMMIT ...]
"""

from __future__ import annotations

import argparse
import ast
import io
import re
import subprocess
import tarfile
import tokenize
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "helicon"
_SILENT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}


def python_lines(source: str) -> int:
    """Lines with a part of a statement on them; a text that no statement uses is a docstring, wherever it stands."""
    tree = ast.parse(source)
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    docs = {(text.lineno, text.col_offset) for text in texts if isinstance(text.value.value, str)}  # type: ignore[attr-defined]
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _SILENT and token.start not in docs:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines)


def written_lines(comment: str) -> Callable[[str], int]:
    """A counter of the lines that hold more than comments, which are what matches `comment`."""
    return lambda source: sum(bool(line.strip()) for line in re.sub(comment, "", source, flags=re.S).splitlines())


COUNTERS: dict[str, Callable[[str], int]] = {
    ".py": python_lines,
    ".c": written_lines(r"/\*.*?\*/|//[^\n]*"),
    ".html": written_lines(r"\{#.*?#\}|<!--.*?-->"),
    ".css": written_lines(r"/\*.*?\*/"),
}


def by_room(files: Iterator[tuple[str, str]]) -> Counter[str]:
    """Room -> lines, of (path from the root of the project, text); what lies outside of rooms is '(root)'."""
    found: Counter[str] = Counter()
    for name, source in files:
        path = PurePosixPath(name)
        if path.suffix in COUNTERS:
            found[path.parts[1] if len(path.parts) > 2 else "(root)"] += COUNTERS[path.suffix](source)
    return found


def files_now() -> Iterator[tuple[str, str]]:
    """The package as it lies in the folder."""
    for path in sorted((ROOT / PACKAGE).rglob("*")):
        if path.suffix in COUNTERS:
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def files_at(commit: str) -> Iterator[tuple[str, str]]:
    """The package as it was at a commit."""
    packed = subprocess.run(
        ["git", "archive", "--format=tar", commit, PACKAGE], cwd=ROOT, capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file is not None and PurePosixPath(member.name).suffix in COUNTERS:
                yield member.name, file.read().decode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commits", nargs="*", metavar="COMMIT", help="to count beside what lies in the folder")
    commits = parser.parse_args().commits
    columns = {commit[:12]: by_room(files_at(commit)) for commit in commits} | {"now": by_room(files_now())}
    print(f"{'room':12}" + "".join(f"{name:>14}" for name in columns))
    for room in sorted(set().union(*columns.values())):
        print(f"{room:12}" + "".join(f"{found[room]:14,}" for found in columns.values()))
    totals = [found.total() for found in columns.values()]
    print(f"{'all':12}" + "".join(f"{total:14,}" for total in totals))
    for commit, total in zip(commits, totals):
        print(f"{100 * (totals[-1] / total - 1):+.1f} % of {commit[:12]}")


if __name__ == "__main__":
    main()
