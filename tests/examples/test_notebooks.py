"""The notebooks, from top to bottom, with a second of training: every cell runs, and what its last line gives shows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
# Runs the cells as a kernel does: the value of a cell's last line, if it is an expression, is shown
KERNEL = """
import ast, json, sys
names = {"__name__": "__main__"}
for source in json.load(open(sys.argv[1])):
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)
    value = eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None
    print(json.dumps(value._repr_html_() if hasattr(value, "_repr_html_") else None), file=sys.stderr)
"""


def cells(notebook: Path) -> list[str]:
    found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in found if "outputs" in cell)
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == "code"]


def test_there_are_two():
    assert [notebook.stem for notebook in NOTEBOOKS] == ["music", "pictures"]


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_every_cell_runs_and_shows(notebook, tmp_path):
    sources = cells(notebook)
    assert any("minutes = " in source for source in sources)
    quick = [
        source.replace("minutes = 1.0", "minutes = 0.1").replace("minutes = 2.0", "minutes = 0.1") for source in sources
    ]
    (tmp_path / "cells.json").write_text(json.dumps(quick))
    command = [sys.executable, "-c", KERNEL, "cells.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = [json.loads(line) for line in done.stderr.splitlines() if line.startswith(("null", '"'))]
    assert len(shown) == len(sources)
    expected = [source.strip().splitlines()[-1] for source in sources]
    for last, html in zip(expected, shown):
        alone = last.isidentifier() or last.startswith(("helicon.", "pieces["))
        assert bool(html) == alone, last
    assert sum("data:image/png;base64," in (html or "") for html in shown) >= 2
