"""Commands that fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from helicon.cli import main


def error_of(capsys: pytest.CaptureFixture[str], status: int, *args: str | Path) -> str:
    """The one line that a command ends with."""
    capsys.readouterr()
    assert main([str(arg) for arg in args]) == status
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]
