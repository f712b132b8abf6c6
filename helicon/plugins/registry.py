"""Registry: maps names to things of one kind, Helicon's own and those of plugins."""

from __future__ import annotations

import re
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import MISSING, dataclass, fields, is_dataclass
from types import FrameType
from typing import Any, Generic, TypeVar, get_type_hints

from helicon.formats.nearest import unknown
from helicon.formats.printable import printable
from helicon.plugins.errors import OURS, in_one_line, line_in, speaks_for_itself
from helicon.plugins.loading import PluginWarning, is_python, load_installed, origin, registries
from helicon.plugins.plugin import Plugin, PluginError

Thing = TypeVar("Thing")
# Letters first, at most 61 characters, `SLOT/NAME` for tokenizers: safe in options, JSON and messages
NAME = re.compile(r"[A-Za-z][\w.-]{0,60}(/[A-Za-z][\w.-]{0,60})?")


@dataclass(frozen=True)
class _Entry(Generic[Thing]):
    thing: Thing
    file: str
    place: str
    plugin: Plugin | None


class Registry(Generic[Thing]):
    """Things of one kind by name: Helicon's own, and those of plugins.

    Args:
        kind: what they are, for messages.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, _Entry[Thing]] = {}
        registries.append(self)

    def register(self, name: str, thing: Thing) -> Thing:
        """Register a thing; the same one may be registered again.

        A PluginWarning says that a thing comes from no file, as in a notebook: no run or bundle can record that.

        Args:
            name: letters, digits, `_`, `.`, `-`, and a `/` between two of these.
            thing: `Thing` of the registry's kind, such as a function or a class.

        Returns:
            The thing.

        Raises:
            PluginError: the name is invalid, or another thing has it; with both places.
        """
        frame = _caller()
        place, known = _place(frame), self._entries.get(name)
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise self.refusal(name, "a name of letters, digits, _ is needed")
        if known is None:
            plugin = origin(frame)
            if plugin is None and not is_python(frame):
                what = "comes from no file NAME.py, so no run or bundle records that it needs this"
                advice = "save it as one, and say plugins=[file] or --plugin"
                warnings.warn(f"{place}: {self.kind} {name!r} {what}; {advice}", PluginWarning, stacklevel=3)
            self._entries[name] = _Entry(thing, frame.f_code.co_filename, place, plugin)
        elif known.thing is not thing:
            raise PluginError(f"{place}: {self.kind} {name!r} is registered already, by {known.place}")
        return thing

    def get(self, name: str) -> Thing:
        """Return the thing that a name, a text, is registered for; ValueError shows the nearest names."""
        if name not in self:
            raise ValueError(unknown(self.kind, name, self.names()))
        return self._entries[name].thing

    def __contains__(self, name: object) -> bool:
        if name not in self._entries:
            load_installed()
        return name in self._entries

    def items(self) -> dict[str, Thing]:
        """Return a dict of all things by name."""
        load_installed()
        return {name: entry.thing for name, entry in self._entries.items()}

    def names(self) -> list[str]:
        """List all names, Helicon's own first."""
        return list(self.items())

    def plugin_of(self, name: str) -> Plugin | None:
        """Return the `Plugin` that registered a name; None for Helicon's own, and for an unknown name."""
        return self._entries[name].plugin if name in self else None

    def title(self, name: str) -> str:
        """Return a text of kind, name and place of registration of a name, for messages about a faulty plugin."""
        place = f" ({self._entries[name].place})" if name in self._entries else ""
        return f"{self.kind} {name!r}{place}"

    def running(self, name: str, accepted: tuple[type[Exception], ...] = ()) -> AbstractContextManager[None]:
        """Make a context in which errors of a plugin's code become PluginError.

        The message says kind, name, place of registration and line. Errors of Helicon's own types pass, and so do all
        errors of Helicon's own things.

        Args:
            name: of the thing that runs.
            accepted: exception types that are part of the thing's interface, and pass too.

        Returns:
            Context manager around the call.
        """
        return nullcontext() if self.is_own(name) else self._locating_errors(name, self._entries[name].file, accepted)

    def is_own(self, name: str) -> bool:
        """Return True if no plugin registered the name: it is Helicon's own, or not in this registry."""
        return name not in self._entries or self._entries[name].plugin is None

    @contextmanager
    def _locating_errors(self, name: str, file: str, accepted: tuple[type[Exception], ...]) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            line = line_in(file, error)
            if isinstance(error, accepted) or speaks_for_itself(error) or (line is None and _is_ours(error)):
                raise
            place = f" (line {line})" if line else ""
            raise self.fault(name, f"{in_one_line(error)}{place}") from error

    def fault(self, name: str, what: str) -> PluginError:
        """Make the error of a thing that returned something invalid.

        Args:
            name: of the thing.
            what: clause that says what is wrong.

        Returns:
            The error, to be raised.
        """
        return PluginError(f"{self.title(name)}: {what}")

    def refusal(self, name: object, what: str) -> PluginError:
        """Make the error of a registration that is refused.

        Args:
            name: that was to be registered.
            what: clause that says what is wrong.

        Returns:
            The error, to be raised, with file and line of the registering code.
        """
        return PluginError(f"{_place(_caller())}: {self.kind} {printable(repr(name), 80)}: {what}")

    def forget(self, plugin: Plugin) -> None:
        """Remove everything that a `Plugin` registered."""
        self._entries = {name: entry for name, entry in self._entries.items() if entry.plugin != plugin}

    def files(self) -> set[str]:
        """Return the paths, as texts, of the files in which plugins registered something."""
        return {entry.file for entry in self._entries.values() if entry.plugin}


def wrong_types(kind: type[Any]) -> str:
    """Return why a class cannot hold options, as a clause; an empty text if it can.

    A dataclass with resolvable types is needed.
    """
    if not is_dataclass(kind):
        return "a dataclass is needed"
    try:
        get_type_hints(kind)
    except Exception as error:  # whatever somebody's annotations come upon
        return f"types that cannot be told, {in_one_line(error)}; what is imported for type checkers alone is not there"
    return ""


def required_options(kind: type[Any]) -> list[str]:
    """Return the names of a dataclass's fields that have no default."""
    return [field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING]


def _is_ours(error: Exception) -> bool:
    """Return True if an error was raised deeper within Helicon than the call that `running` guards."""
    deeper = [frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(error.__traceback__)][2:]
    return any(str(module).partition(".")[0] == OURS for module in deeper)


def _caller() -> FrameType:
    """Return the frame of the registering code: the first outside this package."""
    frame = sys._getframe(2)
    while str(frame.f_globals.get("__name__")).startswith(f"{OURS}.") and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _place(frame: FrameType) -> str:
    return OURS if is_python(frame) else f"{printable(frame.f_code.co_filename)}, line {frame.f_lineno}"
