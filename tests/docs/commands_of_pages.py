"""The commands that pages show, as lists of words."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
# Right before a block whose commands cannot be checked, with the reason: <!-- not checked: needs a file of yours -->
UNCHECKED = re.compile(r"<!-- not checked: \S.*-->\n$")
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(text: str, *languages: str) -> Iterator[str]:
    """The fenced blocks of a page in these languages, but for those that are marked."""
    for match in BLOCK.finditer(text):
        if match[2] in languages and not UNCHECKED.search(text[: match.start()]):
            yield match[3]


def commands(text: str) -> Iterator[list[str]]:
    """The words after `helicon` of each command in a page's blocks of shell."""
    for block in blocks(text, "", "sh", "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            if re.match(r"\s*\$?\s*(helicon|.*&& helicon|.*-m helicon) ", line):
                words = [word for word in shlex.split(line, comments=True) if word != "..."]
                yield words[words.index("helicon") + 1 :]
