"""All objectives, by the name that `task:` in a config and a bundle say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from helicon.formats import checked
from helicon.objectives.base import Objective
from helicon.objectives.classify import Classify
from helicon.objectives.next_token import NextToken
from helicon.plugins.plugin import Plugin, PluginError
from helicon.plugins.registry import Registry

Kind = TypeVar("Kind", bound=type[Objective])

OBJECTIVES: Registry[type[Objective]] = Registry("objective")
OBJECTIVES.register("gpt", NextToken)
OBJECTIVES.register("classify", Classify)


def register_objective(name: str) -> Callable[[Kind], Kind]:
    """Adds an objective of one's own as a task, `helicon train NAME` or `task: NAME` in a config; a class decorator.

    Raises:
        PluginError: for the name of another one, and for a class that is no frozen dataclass of `helicon.Objective`.
    """

    def add(kind: Kind) -> Kind:
        if not (isinstance(kind, type) and issubclass(kind, Objective) and is_dataclass(kind)):
            raise PluginError(f"objective {name!r}: a dataclass that inherits from helicon.Objective is accepted")
        OBJECTIVES.register(name, kind)
        return kind

    return add


def name_of(objective: Objective) -> str:
    """The name of an objective's class; PluginError for one that has none."""
    for name, kind in OBJECTIVES.items().items():
        if type(objective) is kind:
            return name
    raise PluginError(
        f"{type(objective).__name__}: an objective needs a name; @helicon.register_objective gives it one"
    )


def plugin_of(objective: Objective) -> list[Plugin]:
    """The plugin that an objective comes from; none of Helicon's own."""
    plugin = OBJECTIVES.plugin_of(name_of(objective))
    return [plugin] if plugin else []


def restored(name: Any, options: Any) -> Objective:
    """The objective of a bundle's JSON; ValueError for what is none."""
    kind = OBJECTIVES.get(checked.text("objective", name))
    return kind(**checked.fields("options of the objective", options, [each.name for each in fields(kind)]))
