"""Things by name: those of plugins are found like Helicon's own, and each name is one thing's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures.process import _ExceptionWithTraceback
from pathlib import Path
from typing import Any

import pytest
from torch._utils import ExceptionWrapper

from helicon.cli.errors import error_line
from helicon.data.workers import Workers
from helicon.plugins import loading
from helicon.plugins.loading import PluginWarning, load_plugins, require
from helicon.plugins.plugin import Plugin, PluginError
from helicon.plugins.registry import Registry

HERE = Path(__file__)


@pytest.fixture
def colours(monkeypatch) -> Iterator[Registry[Any]]:
    """A registry of one test, which plugins import as `colours`."""
    made: Registry[Any] = Registry("colour")
    monkeypatch.setitem(sys.modules, "colours", made)
    yield made
    loading.registries.remove(made)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_plugin_registers_by_name(home, colours):
    colours.register("blue", 1)
    (plugin,) = load_plugins([write(home / "mine.py", "import colours\ncolours.register('red', 2)\n")])
    assert colours.items() == {"blue": 1, "red": 2}
    assert (colours.plugin_of("red"), colours.plugin_of("blue").file) == (plugin, HERE)
    assert Plugin.parse(str(plugin)) == plugin
    assert plugin.placeless == f"mine.py#sha256={plugin.stamp}"
    with pytest.raises(ValueError, match="unknown colour 'rd'; nearest: red"):
        colours.get("rd")


def test_one_file_is_one_plugin_however_it_is_named(home, colours):
    write(home / "mine.py", "import colours\ncolours.register('red', 2)\n")
    (home / "sub").mkdir()
    (plugin,) = load_plugins(["mine.py"])
    assert load_plugins([Path("sub", "..", "mine.py")]) == [plugin]
    assert plugin.file == home / "mine.py"


def test_one_name_is_one_thing(home, colours):
    write(home / "one.py", "import colours\n\ncolours.register('red', [])\n")
    write(home / "two.py", "import colours\ncolours.register('green', 1)\ncolours.register('red', [])\n")
    load_plugins(["one.py"])
    with pytest.raises(PluginError, match=r"two\.py, line 3: colour 'red' is registered already, by .*one\.py, line 3"):
        load_plugins(["two.py"])
    assert "green" not in colours  # nothing is left of what failed
    with pytest.raises(PluginError, match=r"test_plugins\.py, line \d+: colour '1': a name of letters"):
        colours.register("1", 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\n\ndef f():\n    return x / 0\n\nf()\n", r"bad\.py, line 4: ZeroDivisionError: division by zero"),
        ("import nowhere_at_all\n", r"bad\.py, line 1: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("x = 1\nx = = 2\n", r"bad\.py, line 2: SyntaxError: invalid syntax"),
        ("import sys\nsys.exit('gone')\n", r"bad\.py, line 2: SystemExit: gone"),
        ("raise ValueError('a\\nb\\x1b[31m')\n", r"bad\.py, line 1: ValueError: a b\\x1b\[31m$"),
    ],
)
def test_a_plugin_that_fails_is_one_line(home, text, said):
    write(home / "bad.py", text)
    with pytest.raises(PluginError, match=said):
        load_plugins(["bad.py"])
    assert "plugin_bad" not in sys.modules
    assert str(home) not in sys.path


@pytest.mark.parametrize(("name", "said"), [("no.py", "No such file"), ("a.txt", "NAME.py, is acc"), (".", "NAME.py")])
def test_what_is_no_file_of_python_is_refused(home, name, said):
    with pytest.raises(PluginError, match=f"^--plugin {name}: .*{said}"):
        load_plugins([name])


def test_a_plugin_is_known_by_its_name(home, colours):
    (home / "other").mkdir()
    for folder in (home, home / "other"):
        write(folder / "mine.py", "import colours, beside\ncolours.register(beside.NAME, 2)\n")
        write(folder / "beside.py", "NAME = 'red'\n")
    load_plugins(["mine.py", "mine.py"])
    with pytest.raises(PluginError, match=r"other/mine\.py: .*/mine\.py is loaded, which has the same name"):
        load_plugins(["other/mine.py"])
    sys.modules.pop("beside")


def test_a_plugin_that_has_changed_takes_the_place_of_what_it_was(home, colours):
    before = load_plugins([write(home / "mine.py", "import colours\ncolours.register('red', 2)\n")])
    after = load_plugins([write(home / "mine.py", "import colours\ncolours.register('red', 3)\n")])
    assert colours.get("red") == 3
    with pytest.warns(
        PluginWarning, match=rf"mine\.py \(sha256 {after[0].stamp[:12]}\) has changed since, it was sha256 "
    ):
        assert require([str(before[0])]) == after


def test_two_plugins_of_one_name_are_not_needed_at_once(home, colours):
    path = write(home / "mine.py", "import colours\ncolours.register('red', 2)\n")
    (plugin,) = load_plugins([path])
    assert require([str(plugin), str(path)]) == [plugin, plugin]
    with pytest.raises(PluginError, match=r"^needs two plugins of one name, .*mine\.py .*other/mine\.py \(sha256 00"):
        require([str(plugin), f"other/mine.py#sha256={'0' * 64}"])


def test_nothing_is_run_because_it_is_recorded(home):
    text = f"{write(home / 'mine.py', 'open(chr(120), chr(119))')}#sha256={'0' * 64}"
    for each in (text, "mine.py"):
        with pytest.raises(PluginError, match=r"needs the plugin .*mine\.py \(.*\), .* not loaded: --plugin FILE"):
            require([each])
    assert not (home / "x").exists()
    with pytest.raises(PluginError, match=r"needs the plugin steps \(version 1\.0\).*: pip install steps$"):
        require(["steps==1.0"])


@pytest.fixture
def package(home, colours, monkeypatch):
    """An installed package whose entry point is a module with a colour."""
    write(home / "paint.py", "import colours\ncolours.register('red', 2)\n")
    write(home / "torn.py", "1 / 0\n")
    (home / "paint-1.2.dist-info").mkdir()
    write(home / "paint-1.2.dist-info" / "METADATA", "Metadata-Version: 2.1\nName: paint\nVersion: 1.2\n")
    points = "[helicon.plugins]\nreds = paint\ntorn = torn\n"
    write(home / "paint-1.2.dist-info" / "entry_points.txt", points)
    monkeypatch.syspath_prepend(str(home))
    for known in (loading._points, loading._waiting):
        known.cache_clear()
    yield
    for known in (loading._points, loading._waiting):
        known.cache_clear()
    for name in ("paint", "torn"):
        sys.modules.pop(name, None)
    loading._seen.pop("paint", None)


def test_installed_plugins_are_found_without_being_named(package, colours):
    said = r"plugin torn of the package paint \(version 1\.2\) does not load: .*/torn\.py, line 1: ZeroDivisionError: "
    with pytest.warns(PluginWarning, match=said):
        assert colours.get("red") == 2
    assert str(colours.plugin_of("red")) == "paint==1.2"
    assert require(["paint==1.2"])
    with pytest.warns(PluginWarning, match=r"plugin paint \(version 1\.2\) has changed since, it was version 1\.0"):
        require(["paint==1.0"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sys\n\nsys.exit('gone')\n", r"/torn\.py, line 3: SystemExit: gone$"),
        ("x = 1\nx = = 2\n", r"/torn\.py, line 2: SyntaxError: invalid syntax"),
        ("import nowhere_at_all\n", r"/torn\.py, line 1: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("import json\njson.loads('{')\n", r"/torn\.py, line 2: JSONDecodeError: "),
        ("import colours\ncolours.register('red', 3)\n", r"/torn\.py, line 2: colour 'red' is registered already"),
    ],
)
def test_an_installed_plugin_that_fails_is_one_line(package, colours, home, text, said):
    write(home / "torn.py", text)
    begins = r"^plugin torn of the package paint \(version 1\.2\) does not load: /"
    with pytest.warns(PluginWarning, match=f"{begins}.*{said}"):
        assert colours.get("red") == 2


USED = """
import torch

class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x
    @staticmethod
    def backward(ctx, gradient):
        return {}['k']

def backward():
    Doubled.apply(torch.ones(1, requires_grad=True)).backward()

def deeper():
    torch.ones(2).view(3)

def called(function):
    function()

def file():
    open('no')
"""


def test_whatever_comes_through_a_plugin_is_told_with_its_line(home):
    write(home / "mine.py", USED)
    load_plugins(["mine.py"])
    mine: Any = sys.modules["plugin_mine"]

    def said(call: Any, *args: Any) -> str:
        with pytest.raises(Exception) as caught:  # noqa: PT011  of any kind
            call(*args)
        return error_line(caught.value)

    def of_a_loader() -> None:
        try:
            mine.backward()
        except KeyError:
            ExceptionWrapper(where="in DataLoader worker process 0").reraise()

    def of_a_pool() -> None:
        try:
            mine.backward()
        except KeyError as error:
            come_back, given = _ExceptionWithTraceback(error, error.__traceback__).__reduce__()  # type: ignore[misc]
        raise come_back(*given)

    assert said(mine.backward) == said(of_a_loader) == said(of_a_pool) == f"{home}/mine.py, line 10: KeyError: 'k'"
    assert said(mine.deeper).startswith(f"{home}/mine.py, line 16: RuntimeError: shape '[3]' is invalid")
    assert said(mine.file) == f"{home}/mine.py, line 22: FileNotFoundError: [Errno 2] No such file or directory: 'no'"
    # What Helicon says itself, and what is not a plugin's
    assert said(mine.called, lambda: load_plugins(["no.py"])).startswith("--plugin no.py: No such file")
    assert said(int, "x") == "invalid literal for int() with base 10: 'x'"


@pytest.mark.filterwarnings("ignore::helicon.plugins.loading.PluginWarning")
def test_a_package_that_is_imported_by_hand_is_known_too(package, colours):
    import paint  # type: ignore[import-not-found]  # noqa: F401

    assert str(colours.plugin_of("red")) == "paint==1.2"


def test_other_processes_load_what_is_named(home):
    write(home / "mine.py", "class Mine:\n    bytes = 1\n")
    load_plugins(["mine.py"])
    thing = sys.modules["plugin_mine"].Mine()
    with Workers(1) as others:
        others.start()
        assert others._pool is not None
        assert type(others._pool.submit(type(thing)).result()).__name__ == "Mine"
