"""Arguments of the library's functions: of the types that their signatures say, or refused in one line."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import fields
from functools import cache, wraps
from inspect import Parameter
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from helicon.formats.checked import shown
from helicon.formats.progress import Writable

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
LISTS = (Sequence, Collection, Iterable)
# One, and several
WORDS: dict[Any, tuple[str, str]] = {
    str: ("a text", "texts"), int: ("a whole number", "whole numbers"), float: ("a number", "numbers"),
    bool: ("True or False", "True or False"), os.PathLike: ("a path", "paths"), Writable: ("a file", "files"),
    Callable: ("a function", "functions"),
}  # fmt: skip


class ArgumentError(ValueError):
    """An argument that is none; the message names it and says what is accepted."""


def checked(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """The function, which raises ArgumentError for an argument that is not of the type that its signature says.

    NumPy's numbers become Python's, and what is to be a list becomes one, whatever it is iterated from.
    """
    signature = inspect.signature(function)

    @cache
    def hints() -> dict[str, Any]:
        return get_type_hints(function)

    @wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                bound.arguments[name] = {each: _accepted(each, given, hints()[name]) for each, given in value.items()}
            else:
                bound.arguments[name] = _accepted(name, value, hints()[name])
        return function(*bound.args, **bound.kwargs)

    return call


def with_fields(kind: type[Any], rest: Any) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Decorates a function whose further keywords are fields of a dataclass, or others, so that its signature says so.

    Args:
        kind: the dataclass, whose fields have defaults and, in their metadata, a help.
        rest: type of the others.

    Returns:
        A decorator, which also tells the fields in the function's docstring.
    """
    hints, own = get_type_hints(kind), fields(kind)

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        *first, last = inspect.signature(function).parameters.values()
        more = [Parameter(f.name, Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name]) for f in own]
        signature = inspect.Signature([*first, *more, last])
        function.__signature__ = signature  # type: ignore[attr-defined]
        function.__annotations__ |= {**{f.name: hints[f.name] for f in own}, last.name: rest}
        told = [f"{f.name}: {f.metadata['help']}." for f in own]
        function.__doc__ = "\n".join([inspect.cleandoc(function.__doc__ or ""), "", *told])
        return function

    return decorate


def _accepted(name: str, value: Any, hint: Any) -> Any:
    """The value as the function gets it."""
    value = value.item() if isinstance(value, np.generic) else value
    for kind in _kinds(hint):
        if _is(value, kind):
            return [_accepted(name, each, get_args(kind)[0]) for each in value] if get_origin(kind) in LISTS else value
    raise ArgumentError(f"{name} {shown(value)}: {_said(hint)} is accepted")


def _kinds(hint: Any) -> list[Any]:
    """The types of a union, or the one that it is."""
    return [*get_args(hint)] if get_origin(hint) in (Union, UnionType) else [hint]


def _is(value: Any, kind: Any) -> bool:
    """Whether a value is of a type; the values of a list are not looked at."""
    origin = get_origin(kind) or kind
    if origin is Any:
        return True
    if origin is Literal:
        return type(value) is str and value in get_args(kind)
    if origin in LISTS:
        return isinstance(value, Iterable) and not isinstance(value, str | bytes | os.PathLike)
    if origin in (int, float):
        return type(value) is int or type(value) is origin
    return callable(value) if origin is Callable else isinstance(value, origin)


def _said(hint: Any, several: bool = False) -> str:
    """The types in words, but for None; a text that is a path is no other thing."""
    kinds = {get_origin(kind) or kind: kind for kind in _kinds(hint) if kind is not NoneType}
    if os.PathLike in kinds:
        kinds.pop(str, None)
    return " or ".join(_word(kind, several) for kind in kinds.values())


def _word(kind: Any, several: bool) -> str:
    origin = get_origin(kind) or kind
    if origin is Literal:
        return " or ".join(get_args(kind))
    if origin in LISTS:
        return f"a list of {_said(get_args(kind)[0], several=True)}"
    return WORDS.get(origin, (f"a {origin.__name__}", f"{origin.__name__}s"))[several]
