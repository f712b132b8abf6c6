"""Things of one kind by name."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from types import FrameType
from typing import Generic, TypeVar

from helicon.formats.nearest import unknown
from helicon.formats.printable import printable
from helicon.plugins.loading import is_python, load_installed, origin, registries
from helicon.plugins.plugin import Plugin, PluginError

Thing = TypeVar("Thing")
NAME = re.compile(r"[A-Za-z][\w.-]{0,60}(/[A-Za-z][\w.-]{0,60})?")
OURS = "helicon"


@dataclass(frozen=True)
class _Entry(Generic[Thing]):
    thing: Thing
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
            raise PluginError(
                f"{place}: {self.kind} {printable(repr(name), 80)}: a name of letters, digits, _ is needed"
            )
        if known is None:
            self._entries[name] = _Entry(thing, place, origin(frame))
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
        return f"{self.kind} {name!r} ({self._entries[name].place})"

    def forget(self, plugin: Plugin) -> None:
        """Drops what a plugin has registered."""
        self._entries = {name: entry for name, entry in self._entries.items() if entry.plugin != plugin}


def _caller() -> FrameType:
    """The frame that registers: the first that is not of this package."""
    frame = sys._getframe(2)
    while str(frame.f_globals.get("__name__")).startswith(f"{OURS}.") and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _place(frame: FrameType) -> str:
    return OURS if is_python(frame) else f"{printable(frame.f_code.co_filename)}, line {frame.f_lineno}"
