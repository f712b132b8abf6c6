"""Printed tokens of a stranger: `detokenize` ends in one line of ours, and writes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import command, posix

pytestmark = posix

PRINTED = {
    "word": "a" * 500_000 + ":",
    "event": "piano:v72:" + "G" * 5_000_000,
    "escapes": "piano:\x1b]0;pwn\x07\u202e",
    "wait": "start wait:" + "9" * 5000,
    "labels": "bach " * 500_000,
    "bytes": b"\xff\xfe\0",
    "nothing": b"\n" * 1_000_000,
}
NUMBERS = {"digits": "9" * 5000, "beyond 64 bits": "9" * 19, "beyond the table": "99999", "negative": "-1"}


@pytest.mark.parametrize("name", [*PRINTED, *NUMBERS])
def test_detokenize(name: str, tmp_path: Path) -> None:
    content = {**PRINTED, **NUMBERS}[name]
    (tmp_path / "a.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    ended = command(["detokenize", "a.txt", "-o", "b.mid", *(["--ids"] if name in NUMBERS else [])], tmp_path)
    print(name, ended.error[:300])
    ended.is_refusal("a.txt")
    assert not (tmp_path / "b.mid").exists()


def test_many_waits(tmp_path: Path) -> None:
    """Hours of rests are a piece as others are."""
    (tmp_path / "a.txt").write_text("start " + "wait:600 " * 100_000)
    command(["detokenize", "a.txt", "-o", "b.mid"], tmp_path).is_cheap()
