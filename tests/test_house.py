"""The house rules: style, types, imports that run down only, and a package that carries what it needs."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import helicon

ROOT = Path(__file__).resolve().parents[1]
CHECKS = {
    "style": ["-m", "ruff", "check", "."],
    "format": ["-m", "ruff", "format", "--check", "."],
    "types": ["-m", "pyright", "--pythonpath", sys.executable],
    "imports": ["-c", "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"],
}


def python(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, encoding="utf-8", check=False
    )


@pytest.mark.parametrize("check", CHECKS)
def test_house_rules(check):
    done = python(*CHECKS[check])
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_helicon_does_not_load_pytorch():
    heavy = "{'torch', 'numpy', 'pytorch_lightning', 'jsonargparse'}"
    done = python("-c", f"import sys, helicon, helicon.cli; print(sorted({heavy} & set(sys.modules)))")
    assert done.stdout.strip() == "[]", done.stderr


def test_every_name_of_the_library_is_there():
    assert all(getattr(helicon, name) for name in helicon.__all__)
    assert sorted(helicon.__all__) == sorted(helicon._EXPORTS)


def test_generating_does_not_load_lightning():
    done = python("-c", "import sys, helicon.generation.generate; print('pytorch_lightning' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr


def test_tokenizers_is_the_library_of_that_name():
    done = python("-c", "import tokenizers; print(tokenizers.Tokenizer.__module__, tokenizers.__file__)")
    assert "site-packages" in done.stdout, done.stderr


def public_names(tree: ast.AST) -> set[str]:
    """Methods and attributes of the classes of a module, those that are set in methods, too."""
    names = set()
    for node in (node for each in ast.walk(tree) if isinstance(each, ast.ClassDef) for node in ast.walk(each)):
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            names.add(node.attr)
    return {name for name in names if not name.startswith("_")}


def probes(tree: ast.AST, members: set[str]) -> list[str]:
    """Calls that ask whether a tokenizer has something, by what they ask or by whom."""
    return [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("hasattr", "getattr")
        if "token" in ast.unparse(node.args[0])
        or (isinstance(node.args[1], ast.Constant) and node.args[1].value in members)
    ]


def test_tokenizers_are_not_probed_for_what_they_can_do():
    parsed = {path: ast.parse(path.read_text("utf-8")) for path in (ROOT / "helicon").rglob("*.py")}
    modules = [tree for path, tree in parsed.items() if path.parent.name == "tokenizers"]
    members = set().union(*(public_names(tree) for tree in modules if "Tokenizer" in ast.unparse(tree)))
    assert {"encode_many", "shape", "slide", "hop", "units", "read_options"} <= members
    old = ast.parse('hasattr(t, "shape"), getattr(coded[0], "codec", None), getattr(tokenizer, name)')
    assert len(probes(old, members)) == 3
    found = [f"{path}, {probe}" for path, tree in parsed.items() for probe in probes(tree, members)]
    assert not found, "\n".join(found)
    untyped = r"token.*type: ignore\[(attr-defined|union-attr)"
    assert not [path for path in parsed if re.search(untyped, path.read_text("utf-8"))]


def long_dataclasses(tree: ast.AST) -> list[str]:
    """Dataclasses of more than four fields of their own whose values may be given by place."""
    found = []
    for node in (each for each in ast.walk(tree) if isinstance(each, ast.ClassDef)):
        decorators = [ast.unparse(each) for each in node.decorator_list if ast.unparse(each).startswith("dataclass")]
        annotated = [ast.unparse(each) for each in node.body if isinstance(each, ast.AnnAssign)]
        of_each = [each for each in annotated if "ClassVar" not in each and "init=False" not in each]
        if decorators and "kw_only=True" not in decorators[0] and len(of_each) > 4:
            found.append(node.name)
    return found


def test_long_dataclasses_are_given_their_values_by_name():
    old = "@dataclass\nclass Note:\n a: int\n b: int\n c: int\n d: int = 0\n e: int = 0"
    assert long_dataclasses(ast.parse(old)) == ["Note"]
    parsed = {path: ast.parse(path.read_text("utf-8")) for path in (ROOT / "helicon").rglob("*.py")}
    assert not [f"{path}: {name}" for path, tree in parsed.items() for name in long_dataclasses(tree)]


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> Path:
    """Folder of the wheel and the source archive, built from a copy: building leaves files behind."""
    folder = tmp_path_factory.mktemp("package")
    copy = folder / "source"
    shutil.copytree(ROOT / "helicon", copy / "helicon", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    build = "from setuptools import build_meta as b; b.build_wheel('..'); b.build_sdist('..')"
    done = python("-c", build, cwd=copy)
    assert done.returncode == 0, done.stderr
    return folder


def needed() -> set[str]:
    """Files that must be in a package, as paths from the root."""
    found = [path for kind in ("py", "yaml", "json", "c", "html", "css") for path in ROOT.glob(f"helicon/**/*.{kind}")]
    found.append(ROOT / "helicon" / "py.typed")
    return {path.relative_to(ROOT).as_posix() for path in found}


def test_the_wheel_is_whole(packages):
    (wheel,) = packages.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert needed() <= names
    assert {"helicon/data/files.py", "helicon/presets/music.yaml", "helicon/formats/templates/page.html"} <= needed()
    assert not {name for name in names if name.startswith(("tests/", "examples/", "docs/"))}


def test_the_source_archive_is_whole(packages):
    (source,) = packages.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert needed() | {"README.md", "LICENSE", "pyproject.toml"} <= names


def test_nothing_of_the_package_is_ignored_by_git():
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a checkout")
    paths = "\n".join(sorted(needed()))
    done = subprocess.run(
        ["git", "check-ignore", "--stdin"], cwd=ROOT, input=paths, capture_output=True, text=True, check=False
    )
    assert not done.stdout


def test_ci_runs_what_the_readme_says():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"<!-- ci: tests -->\n```\w*\n(.+)\n```", readme)
    assert command == 'python -m pip install -e ".[test]" && python -m pytest'
    assert "ci: tests" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert f"run: {command}\n" in (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
