"""Lines of code are counted without what is written for readers alone."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def code_lines(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(Path(__file__).resolve().parents[1] / "benchmarks")
    import code_lines  # type: ignore[import-not-found]

    return code_lines


PYTHON = '''"""A module.

Two lines of it.
"""

import os  # why


class A:
    """A class."""

    x = """a text
that is used"""

    def f(self):
        """Only this."""
'''
C = "/* a\n long comment */\nint x; /* short */\n\n// whole\nint y;\n"
HTML = "{# says what\n it is #}\n<p>\n\n<!-- gone -->\n</p>\n"


def test_docstrings_comments_and_blanks_do_not_count(code_lines):
    assert code_lines.python_lines(PYTHON) == 5  # import, class, two of x, def
    assert code_lines.COUNTERS[".c"](C) == 2
    assert code_lines.COUNTERS[".html"](HTML) == 2


def test_lines_are_counted_by_room(code_lines):
    files = [("helicon/cli.py", "x = 1\n"), ("helicon/gpt/a.py", PYTHON), ("helicon/gpt/native/a.c", C)]
    assert code_lines.by_room(iter([*files, ("helicon/gpt/a.json", "{}")])) == {"(root)": 1, "gpt": 7}
