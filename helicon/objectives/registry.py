"""All objectives, by the name that `task:` in a config and a bundle say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from helicon.formats import checked
from helicon.objectives.base import Objective
from helicon.objectives.classify import Classify
from helicon.objectives.next_token import NextToken
from helicon.plugins.plugin import Plugin, PluginError
from helicon.plugins.registry import Registry, wrong_types

Kind = TypeVar("Kind", bound=type[Objective])
Each = TypeVar("Each", bound=Objective)

OBJECTIVES: Registry[type[Objective]] = Registry("objective")
OBJECTIVES.register("gpt", NextToken)
OBJECTIVES.register("classify", Classify)


def register_objective(name: str) -> Callable[[Kind], Kind]:
    """Adds an objective of one's own as a task, `helicon train NAME` or `task: NAME` in a config; a class decorator.

    Raises:
        PluginError: for the name of another one, and for a class that is no frozen dataclass of `helicon.Objective`,
            lacks a method, or has types that are not known.
    """

    def add(kind: Kind) -> Kind:
        if wrong := _wrong_with(kind):
            raise OBJECTIVES.refusal(name, wrong)
        OBJECTIVES.register(name, kind)
        return kind

    return add


def _wrong_with(kind: Any) -> str:
    """Why a class is no objective, if so."""
    # Of its own: one that it inherits does not make its fields options
    if not isinstance(kind, type) or not issubclass(kind, Objective) or "__dataclass_fields__" not in vars(kind):
        needed = "a dataclass that inherits from helicon.Objective is accepted"
        return f"{needed}, @dataclass(frozen=True, kw_only=True) below @helicon.register_objective"
    if missing := sorted(kind.__abstractmethods__):
        return f"{', '.join(missing)} missing, which each objective has"
    return wrong_types(kind)


def name_of(objective: Objective | type[Objective]) -> str:
    """The name of an objective, or of its class; PluginError for one that has none."""
    sought = objective if isinstance(objective, type) else type(objective)
    for name, kind in OBJECTIVES.items().items():
        if sought is kind:
            return name
    raise PluginError(f"{sought.__name__}: an objective needs a name; @helicon.register_objective gives it one")


def plugin_of(objective: Objective) -> list[Plugin]:
    """The plugin that an objective comes from; none of Helicon's own."""
    plugin = OBJECTIVES.plugin_of(name_of(objective))
    return [plugin] if plugin else []


def restored(name: Any, options: Any) -> Objective:
    """The objective of a bundle's JSON; ValueError for what is none, PluginError for a plugin's that refuses it."""
    kind = OBJECTIVES.get(checked.text("objective", name))
    given = checked.fields("options of the objective", options, [each.name for each in fields(kind)])
    with OBJECTIVES.running(name):
        return kind(**given)


def configured(kind: type[Each], options: Mapping[str, Any]) -> Each:
    """An objective with options that are typed; ValueError for one that it refuses.

    PluginError for whatever else a plugin's raises.
    """
    with OBJECTIVES.running(name_of(kind), accepted=(ValueError,)):
        return kind(**options)
