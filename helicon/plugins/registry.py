"""Things of one kind by name."""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, is_dataclass
from types import FrameType
from typing import Any, Generic, TypeVar, get_type_hints

from helicon.formats.nearest import unknown
from helicon.formats.printable import printable
from helicon.plugins.errors import OURS, in_one_line, line_in, speaks_for_itself
from helicon.plugins.loading import is_python, load_installed, origin, registries
from helicon.plugins.plugin import Plugin, PluginError

Thing = TypeVar("Thing")
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
        """Adds a thing, which is returned; the same one may be added again.

        Raises:
            PluginError: for a name that another thing has, with both places, or one that is none.
        """
        frame = _caller()
        place, known = _place(frame), self._entries.get(name)
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise self.refusal(name, "a name of letters, digits, _ is needed")
        if known is None:
            self._entries[name] = _Entry(thing, frame.f_code.co_filename, place, origin(frame))
        elif known.thing is not thing:
            raise PluginError(f"{place}: {self.kind} {name!r} is registered already, by {known.place}")
        return thing

    def get(self, name: str) -> Thing:
        """The thing of that name; ValueError shows the nearest names."""
        if name not in self:
            raise ValueError(unknown(self.kind, name, self.names()))
        return self._entries[name].thing

    def __contains__(self, name: object) -> bool:
        if name not in self._entries:
            load_installed()
        return name in self._entries

    def items(self) -> dict[str, Thing]:
        """Name -> thing."""
        load_installed()
        return {name: entry.thing for name, entry in self._entries.items()}

    def names(self) -> list[str]:
        """All names, Helicon's own first."""
        return list(self.items())

    def plugin_of(self, name: str) -> Plugin | None:
        """The plugin that has registered a name; None for Helicon's own."""
        return self._entries[name].plugin if name in self else None

    def title(self, name: str) -> str:
        """What a name stands for and where that is registered, for messages about what it does wrong."""
        place = f" ({self._entries[name].place})" if name in self._entries else ""
        return f"{self.kind} {name!r}{place}"

    def running(self, name: str, accepted: tuple[type[Exception], ...] = ()) -> AbstractContextManager[None]:
        """While it lasts, what a plugin's thing raises becomes a PluginError: what, where it is registered, which line.

        Nothing changes for Helicon's own things, nor for errors of Helicon's own types, which speak for themselves.

        Args:
            name: of the thing that runs.
            accepted: errors by which such a thing may say something, and which stay as they are.
        """
        return nullcontext() if self.is_own(name) else self._told(name, self._entries[name].file, accepted)

    def is_own(self, name: str) -> bool:
        """Whether a thing is Helicon's own: not of a plugin, or not in this registry."""
        return name not in self._entries or self._entries[name].plugin is None

    @contextmanager
    def _told(self, name: str, file: str, accepted: tuple[type[Exception], ...]) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            line = line_in(file, error)
            if isinstance(error, accepted) or speaks_for_itself(error) or (line is None and _is_ours(error)):
                raise
            place = f" (line {line})" if line else ""
            raise self.fault(name, f"{in_one_line(error)}{place}") from error

    def fault(self, name: str, what: str) -> PluginError:
        """The error of a thing that gives what it is not to give."""
        return PluginError(f"{self.title(name)}: {what}")

    def refusal(self, name: object, what: str) -> PluginError:
        """The error of what is being registered and cannot be, with file and line of who registers it."""
        return PluginError(f"{_place(_caller())}: {self.kind} {printable(repr(name), 80)}: {what}")

    def forget(self, plugin: Plugin) -> None:
        """Drops what a plugin has registered."""
        self._entries = {name: entry for name, entry in self._entries.items() if entry.plugin != plugin}

    def files(self) -> set[str]:
        """Files in which plugins have registered something."""
        return {entry.file for entry in self._entries.values() if entry.plugin}


def wrong_types(kind: type[Any]) -> str:
    """Why the fields of a dataclass cannot be options, if so: each has a type that is known where the class is."""
    if not is_dataclass(kind):
        return "a dataclass is needed"
    try:
        get_type_hints(kind)
    except Exception as error:  # whatever somebody's annotations come upon
        return f"types that cannot be told, {in_one_line(error)}; what is imported for type checkers alone is not there"
    return ""


def _is_ours(error: Exception) -> bool:
    """Whether an error comes from deeper within Helicon than the call that `running` is about."""
    deeper = [frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(error.__traceback__)][2:]
    return any(str(module).partition(".")[0] == OURS for module in deeper)


def _caller() -> FrameType:
    """The frame that registers: the first that is not of this package."""
    frame = sys._getframe(2)
    while str(frame.f_globals.get("__name__")).startswith(f"{OURS}.") and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _place(frame: FrameType) -> str:
    return OURS if is_python(frame) else f"{printable(frame.f_code.co_filename)}, line {frame.f_lineno}"
