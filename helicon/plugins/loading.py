"""Plugins are loaded: files because somebody named them, installed packages when something is asked for by name.

Whatever a run or a bundle says it needs is looked for among those that are loaded, and never loaded by that.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import FrameType, ModuleType
from typing import Protocol

from helicon.formats.printable import printable
from helicon.plugins import errors
from helicon.plugins.errors import in_one_line, speaks_for_itself
from helicon.plugins.plugin import Plugin, PluginError

GROUP = "helicon.plugins"  # of entry points
SCRIPTS = ("__main__", "__mp_main__")  # the second in processes that this one starts


class PluginWarning(UserWarning):
    """Warning about a plugin that may be harmless, such as a changed file."""


class Forgetful(Protocol):
    """Interface of registries towards the loader."""

    def forget(self, plugin: Plugin) -> None: ...

    def files(self) -> set[str]: ...


registries: list[Forgetful] = []  # all there are, so that a plugin can be removed from each
_named: dict[str, Plugin] = {}  # files, by name
_seen: dict[str, Plugin] = {}  # all that have registered something, by name
_loading: list[Plugin] = []  # the last of them registers


def load_plugins(files: Iterable[str | os.PathLike[str]]) -> list[Plugin]:
    """Run plugin files that the user named; a file that is loaded and unchanged is not run again.

    Args:
        files: paths of Python files; `#sha256=...` after one is the hash that it is expected to have, else a warning
        says so.

    Returns:
        `Plugin`s, in order.

    Raises:
        PluginError: a file is no Python file, raises, or has the name of another plugin; with file and line.
    """
    return [_load(os.fspath(file)) for file in files]


def _load(text: str) -> Plugin:
    asked = Plugin.parse(text)
    if asked.file is None:
        return require([text])[0]
    try:
        plugin = Plugin.of_file(asked.file)
    except OSError as error:
        reason = f"{error.strerror}; a Python file, NAME.py, is needed"
        raise PluginError(f"--plugin {printable(asked.file)}: {reason}") from None
    _warn_of_change(plugin, asked)
    known = _named.get(plugin.name)
    if known == plugin or _is_script(asked.file):
        return _seen.setdefault(plugin.name, plugin)
    if known and known.file != plugin.file:
        reason = f"{printable(known.file)} is loaded, which has the same name; give it another one"
        raise PluginError(f"--plugin {printable(asked.file)}: {reason}")
    if known:
        _forget(known)
    _run(plugin)
    return plugin


def _is_script(path: Path) -> bool:
    """Return True if a file is the script that this process runs: its things are registered already."""
    scripts = (sys.modules[name].__dict__.get("__file__") for name in SCRIPTS if name in sys.modules)
    return any(script and os.path.realpath(script) == os.path.realpath(path) for script in scripts)


def _run(plugin: Plugin) -> None:
    """Run a plugin's file as a separate module, which may import files beside it."""
    assert plugin.file is not None
    module = ModuleType(f"plugin_{plugin.name}")
    module.__file__ = str(plugin.file)
    sys.modules[module.__name__] = module  # dataclasses and pickles look there
    folder = str(plugin.file.parent)
    sys.path.append(folder)
    try:
        with _registering(plugin):
            exec(compile(plugin.file.read_bytes(), plugin.file, "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as error:  # whatever somebody's code raises
        _forget(plugin)
        if isinstance(error, PluginError):
            raise
        where = errors.located_message(error, [str(plugin.file)])
        raise PluginError(where or f"{printable(plugin.file)}: {in_one_line(error)}") from error
    finally:
        sys.path.remove(folder)
    _named[plugin.name] = _seen[plugin.name] = plugin


@contextmanager
def _registering(plugin: Plugin) -> Iterator[None]:
    _loading.append(plugin)
    try:
        yield
    finally:
        _loading.pop()


def _forget(plugin: Plugin) -> None:
    """Unregister a plugin that failed, or whose file changed."""
    for registry in registries:
        registry.forget(plugin)
    sys.modules.pop(f"plugin_{plugin.name}", None)
    _named.pop(plugin.name, None)
    _seen.pop(plugin.name, None)


def plugin_error_message(error: Exception) -> str | None:
    """Describe an exception by the last line of a plugin's code in its traceback: `FILE, line N: TYPE: MESSAGE`.

    None for an exception without plugin code in its traceback, and for one of Helicon's own types.
    """
    if speaks_for_itself(error):
        return None
    named = {str(plugin.file) for plugin in _named.values()}
    return errors.located_message(error, named.union(*(registry.files() for registry in registries)))


def load_installed() -> None:
    """Load the plugins of installed packages, once; one that raises is skipped with a warning."""
    waiting = _waiting()
    while waiting:
        point = waiting.pop()
        package = _of_package(point)
        try:
            with _registering(package):
                point.load()
        except (Exception, SystemExit) as error:  # another package's code: whatever it raises, the rest must work
            reason = str(error) if isinstance(error, PluginError) else _located_in_package(point, error)
            what = f"plugin {point.name} of the package {package.title} does not load"
            warnings.warn(f"{what}: {reason}", PluginWarning, stacklevel=2)


def _located_in_package(point: EntryPoint, error: BaseException) -> str:
    """Describe an error of an entry point by the last line of its package in the traceback."""
    trace = traceback.walk_tb(error.__traceback__)
    top = point.module.partition(".")[0]
    files = {frame.f_code.co_filename for frame, _ in trace if _module(frame).partition(".")[0] == top}
    unread = {str(error.filename)} if isinstance(error, SyntaxError) else set()
    return errors.located_message(error, files | unread) or f"{point.value}: {in_one_line(error)}"


@cache
def _points() -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=GROUP))


@cache
def _waiting() -> list[EntryPoint]:
    """Return the entry points that are not loaded yet."""
    return list(reversed(_points()))


def _of_package(point: EntryPoint) -> Plugin:
    assert point.dist is not None
    return _seen.setdefault(point.dist.name, Plugin(point.dist.name, point.dist.version))


def origin(frame: FrameType) -> Plugin | None:
    """Return the `Plugin` whose code runs in a frame of Python's stack.

    None for Helicon's own code, and for an interactive interpreter.
    """
    if is_python(frame):
        return None
    if _loading:
        return _loading[-1]
    file = Path(frame.f_code.co_filename)
    for point in _points():
        if f"{_module(frame)}.".startswith(f"{point.module}."):
            return _of_package(point)
    if file.suffix != ".py" or not file.is_file():
        return None
    plugin = Plugin.of_file(file)
    _seen[plugin.name] = plugin
    return plugin


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def is_python(frame: FrameType) -> bool:
    """Return True for a stack frame of Python's import machinery, as while a module of Helicon is imported."""
    return frame.f_code.co_filename.startswith("<frozen")


def files() -> list[str]:
    """List the paths of the plugin files that were named, so that another process can load them."""
    return [str(plugin.file) for plugin in _named.values()]


def words() -> list[str]:
    """Return the command-line words that name the same files: `--plugin`, `/home/me/my.py`, and on."""
    return [word for file in files() for word in ("--plugin", file)]


def require(recorded: Iterable[str]) -> list[Plugin]:
    """Find the loaded plugins for those that a run or bundle recorded; none is loaded by this.

    Args:
        recorded: texts as `str(plugin)` writes them.

    Returns:
        The loaded `Plugin`s of these names, in order; a PluginWarning says where one has changed.

    Raises:
        PluginError: one is missing, with what to type, or two have the same name.
    """
    load_installed()
    plugins, names = [], {}
    for text in recorded:
        asked = Plugin.parse(text)
        other = names.setdefault(asked.name, asked)
        if asked.stamp and other.stamp and asked.stamp != other.stamp:
            both = f"{other.title} and {asked.title}"
            raise PluginError(f"needs two plugins of one name, {both}: one of them is accepted")
        plugin = _seen.get(asked.name)
        if plugin is None:
            advice = "--plugin FILE names it, if you trust it" if asked.file else f"pip install {asked.name}"
            raise PluginError(f"needs the plugin {asked.title}, which is not loaded: {advice}")
        _warn_of_change(plugin, asked)
        plugins.append(plugin)
    return plugins


def _warn_of_change(plugin: Plugin, asked: Plugin) -> None:
    if asked.stamp not in ("", plugin.stamp):
        warnings.warn(f"plugin {plugin.title} has changed since, it was {asked.version}", PluginWarning, stacklevel=3)
