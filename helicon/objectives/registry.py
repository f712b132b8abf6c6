"""Registry of objectives by name, as in `task:` of a config and in a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from helicon.formats import checked
from helicon.objectives.base import Objective
from helicon.objectives.classify import Classify
from helicon.objectives.next_token import NextToken
from helicon.plugins.plugin import Plugin, PluginError
from helicon.plugins.registry import Registry, required_options, wrong_types

Kind = TypeVar("Kind", bound=type[Objective])
Each = TypeVar("Each", bound=Objective)

OBJECTIVES: Registry[type[Objective]] = Registry("objective")
OBJECTIVES.register("gpt", NextToken)
OBJECTIVES.register("classify", Classify)


def register_objective(name: str) -> Callable[[Kind], Kind]:
    """Decorate a class of one's own as an objective, used by `helicon train NAME` or `task: NAME` in a config.

    Args:
        name: of the objective.

    Returns:
        A decorator of a frozen, keyword-only dataclass that inherits from `helicon.Objective`; it returns the class.

    Raises:
        PluginError: another objective has the name, or the class is no such dataclass, lacks a method, or has fields of
            unsupported types.
    """

    def add(kind: Kind) -> Kind:
        if wrong := _wrong_with(kind):
            raise OBJECTIVES.refusal(name, wrong)
        OBJECTIVES.register(name, kind)
        return kind

    return add


def _wrong_with(kind: Any) -> str:
    """Return why a class is no objective; empty if it is one."""
    # `vars`: an inherited decorator does not make the class's own fields options
    if not isinstance(kind, type) or not issubclass(kind, Objective) or "__dataclass_fields__" not in vars(kind):
        needed = "a dataclass that inherits from helicon.Objective is accepted"
        return f"{needed}, @dataclass(frozen=True, kw_only=True) below @helicon.register_objective"
    if missing := sorted(kind.__abstractmethods__):
        return f"{', '.join(missing)} missing, which each objective has"
    return wrong_types(kind)


def name_of(objective: Objective | type[Objective]) -> str:
    """Return the registered name of an `Objective` or of its class; PluginError if it has none."""
    sought = objective if isinstance(objective, type) else type(objective)
    for name, kind in OBJECTIVES.items().items():
        if sought is kind:
            return name
    raise PluginError(f"{sought.__name__}: an objective needs a name; @helicon.register_objective gives it one")


def plugin_of(objective: Objective) -> list[Plugin]:
    """Return the `Plugin` that an `Objective` comes from, in a list; empty for Helicon's own."""
    plugin = OBJECTIVES.plugin_of(name_of(objective))
    return [plugin] if plugin else []


def restored(name: Any, options: Any) -> Objective:
    """Make the objective that a bundle's JSON describes.

    Args:
        name: of the objective; unchecked.
        options: values of all its fields by name; unchecked.

    Returns:
        The `Objective`.

    Raises:
        ValueError: an unknown name or wrong options.
        PluginError: a plugin's class refuses them.
    """
    kind = OBJECTIVES.get(checked.text("objective", name))
    names = [option.name for option in fields(kind)]
    if OBJECTIVES.plugin_of(name) and isinstance(options, Mapping):  # which may have got options since, with defaults
        names = [option for option in names if option in options or option in required_options(kind)]
    values = checked.fields("options of the objective", options, names)
    with OBJECTIVES.running(name):
        return kind(**values)


def configured(kind: type[Each], options: Mapping[str, Any]) -> Each:
    """Make an objective from typed options.

    Args:
        kind: class of the objective.
        options: values by name of the field; others have their default.

    Returns:
        The objective.

    Raises:
        ValueError: it refuses an option.
        PluginError: a plugin's class raises anything else.
    """
    with OBJECTIVES.running(name_of(kind), accepted=(ValueError,)):
        return kind(**options)
