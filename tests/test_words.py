"""The package speaks the field's words: names and docstrings are held to the form that CONTRIBUTING.md states."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import helicon

PACKAGE = Path(helicon.__file__).parent
FORBIDDEN = {"said", "told", "found", "made", "given", "one", "each", "own", "whole"}  # names that hold anything
RIDDLE = re.compile(r"(What|That|Those|Of|Whether|Which|How)\b")  # first words of a docstring without a main clause
FILES = sorted(PACKAGE.rglob("*.py"))

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def definitions(node: ast.AST, public: bool) -> Iterator[tuple[Definition, bool]]:
    """Yield the classes and functions below a node, apart from those inside functions, and whether each is public."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield child, (visible := public and not child.name.startswith("_"))
            if isinstance(child, ast.ClassDef):
                yield from definitions(child, visible)
        elif isinstance(child, ast.If | ast.Try | ast.With):
            yield from definitions(child, public)


def missing_sections(function: Definition) -> list[str]:
    """List the sections that a documented function of several parameters lacks."""
    docstring = ast.get_docstring(function)
    if docstring is None or isinstance(function, ast.ClassDef):
        return []
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    if sum(argument.arg not in ("self", "cls") for argument in arguments) < 2:
        return []
    returned = "None" if function.returns is None else ast.unparse(function.returns)
    missing = [] if "Args:" in docstring else ["Args"]
    if returned != "None" and not re.search("Returns:|Yields:", docstring):
        missing.append("Returns")
    return missing


def check(source: str) -> list[str]:
    """List what a file's names and docstrings fall short of, with line numbers."""
    tree, faults = ast.parse(source), []
    for node in ast.walk(tree):
        name = node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else getattr(node, "arg", "")
        if name in FORBIDDEN and isinstance(node, ast.Name | ast.arg):
            faults.append(f"{node.lineno}: `{name}` does not say what it holds")
    if RIDDLE.match(ast.get_docstring(tree) or ""):
        faults.append("1: the docstring has no main clause")
    for node, public in definitions(tree, public=True):
        if RIDDLE.match(ast.get_docstring(node) or ""):
            faults.append(f"{node.lineno}: the docstring of {node.name} has no main clause")
        if public and (missing := missing_sections(node)):
            faults.append(f"{node.lineno}: {node.name} lacks {' and '.join(missing)}")
    return faults


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_names_and_docstrings_have_the_form(path):
    assert check(path.read_text(encoding="utf-8")) == []


def test_no_class_name_exists_twice():
    files = defaultdict(list)
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                files[node.name].append(path.relative_to(PACKAGE).as_posix())
    assert {name: places for name, places in files.items() if len(places) > 1} == {}


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("def f(a):\n    found = a", "2: `found` does not say what it holds"),
        ("def f(each):\n    pass", "1: `each` does not say what it holds"),
        ('"""What it is."""', "1: the docstring has no main clause"),
        ('class A:\n    """That of another."""', "1: the docstring of A has no main clause"),
        ('def f(a, b):\n    """Add."""', "1: f lacks Args"),
        ('def f(a, b) -> int:\n    """Add."""', "1: f lacks Args and Returns"),
    ],
)
def test_a_fault_is_found(source, fault):
    assert check(source) == [fault]


def test_private_functions_and_single_parameters_need_no_sections():
    assert check('def _f(a, b):\n    """Add."""\n\n\ndef g(a):\n    """Negate."""') == []
