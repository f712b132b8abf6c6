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
    """Something about a plugin that need not be wrong."""


class Forgetful(Protocol):
    """What keeps things of plugins."""

    def forget(self, plugin: Plugin) -> None: ...

    def files(self) -> set[str]: ...


registries: list[Forgetful] = []
_named: dict[str, Plugin] = {}  # files, by name
_seen: dict[str, Plugin] = {}  # all that have registered something, by name
_loading: list[Plugin] = []  # the last of them registers


def load_plugins(files: Iterable[str | os.PathLike[str]]) -> list[Plugin]:
    """Runs files that somebody has named; one that is loaded as it is now is not run once more.

    Args:
        files: Python files; with `#sha256=...` one that the file is expected to have, else a warning says so.

    Returns:
        The plugins, in order.

    Raises:
        PluginError: for what is no Python file, cannot be run, or has the name of another one; with file and line.
    """
    return [_load(os.fspath(each)) for each in files]


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
    """Whether a file is the script that this process runs, which has registered what it has."""
    scripts = (sys.modules[name].__dict__.get("__file__") for name in SCRIPTS if name in sys.modules)
    return any(script and os.path.realpath(script) == os.path.realpath(path) for script in scripts)


def _run(plugin: Plugin) -> None:
    """Runs a plugin's file as a module of its own, which may import what lies beside it."""
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
    """Leaves nothing of a plugin that failed, or whose file has changed."""
    for registry in registries:
        registry.forget(plugin)
    sys.modules.pop(f"plugin_{plugin.name}", None)
    _named.pop(plugin.name, None)
    _seen.pop(plugin.name, None)


def plugin_error_message(error: Exception) -> str | None:
    """An error in one line with the last line of a plugin's code that it came through.

    None where it came through none, and of one of Helicon's own types, which speaks for itself.
    """
    if speaks_for_itself(error):
        return None
    named = {str(plugin.file) for plugin in _named.values()}
    return errors.located_message(error, named.union(*(registry.files() for registry in registries)))


def load_installed() -> None:
    """Loads the plugins of installed packages, once. One that cannot be loaded is passed over with a warning."""
    waiting = _waiting()
    while waiting:
        point = waiting.pop()
        package = _of_package(point)
        try:
            with _registering(package):
                point.load()
        except (Exception, SystemExit) as error:  # another package's code: whatever it raises, the rest must work
            reason = str(error) if isinstance(error, PluginError) else _told_of(point, error)
            what = f"plugin {point.name} of the package {package.title} does not load"
            warnings.warn(f"{what}: {reason}", PluginWarning, stacklevel=2)


def _told_of(point: EntryPoint, error: BaseException) -> str:
    """An error of an entry point with the last line of its package that it came through."""
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
    """Those that are not loaded yet."""
    return list(reversed(_points()))


def _of_package(point: EntryPoint) -> Plugin:
    assert point.dist is not None
    return _seen.setdefault(point.dist.name, Plugin(point.dist.name, point.dist.version))


def origin(frame: FrameType) -> Plugin | None:
    """The plugin whose code runs in a frame; None of Helicon's own, and of what is typed into an interpreter."""
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
    """Whether Python itself runs in a frame, as it does where it imports a module of Helicon."""
    return frame.f_code.co_filename.startswith("<frozen")


def files() -> list[str]:
    """Files that were named, for another process to load them too."""
    return [str(plugin.file) for plugin in _named.values()]


def words() -> list[str]:
    """Options of a command that names the same files: `--plugin /home/me/my.py`."""
    return [word for file in files() for word in ("--plugin", file)]


def require(recorded: Iterable[str]) -> list[Plugin]:
    """The plugins that are loaded for those that a run or a bundle has on record; nothing is run.

    Args:
        recorded: as `str(plugin)` has them.

    Returns:
        Those that are loaded under these names. Where one is not as it was, a PluginWarning says so.

    Raises:
        PluginError: for one that is missing, with what to type, and for two of one name.
    """
    load_installed()
    found, names = [], {}
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
        found.append(plugin)
    return found


def _warn_of_change(plugin: Plugin, asked: Plugin) -> None:
    if asked.stamp not in ("", plugin.stamp):
        warnings.warn(f"plugin {plugin.title} is not as it was, {asked.version}", PluginWarning, stacklevel=3)
