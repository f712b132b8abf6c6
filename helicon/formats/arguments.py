"""Run-time type checks of the arguments of the library's public functions, by their annotations."""

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
LISTS = (Sequence, Collection, Iterable)  # annotations for which any iterable but text is accepted
# Words of messages for a type: for one value, and for several
WORDS: dict[Any, tuple[str, str]] = {
    str: ("a text", "texts"), int: ("a whole number", "whole numbers"), float: ("a number", "numbers"),
    bool: ("True or False", "True or False"), os.PathLike: ("a path", "paths"), Writable: ("a file", "files"),
    Callable: ("a function", "functions"),
}  # fmt: skip


class ArgumentError(ValueError):
    """An argument of a wrong type or value; the message names the argument and the accepted types."""


def checked(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Decorate a function to check its arguments against its annotations.

    NumPy scalars become Python numbers, and iterables for list parameters become lists, before the function runs; but
    an iterable of anything, which may be longer than memory, stays as it is.

    Args:
        function: function whose parameters all have annotations.

    Returns:
        A function of the same signature, which raises ArgumentError for an argument of another type.
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
                bound.arguments[name] = {key: _accepted(key, item, hints()[name]) for key, item in value.items()}
            else:
                bound.arguments[name] = _accepted(name, value, hints()[name])
        return function(*bound.args, **bound.kwargs)

    return call


def with_fields(kind: type[Any], rest: Any) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Decorate a function to show the fields of a dataclass as keywords of its signature and docstring.

    Args:
        kind: the dataclass (a class), whose fields have defaults and a `help` in their metadata.
        rest: annotation of the other keywords.

    Returns:
        A decorator of functions, which also adds the help of the fields to the function's docstring.
    """
    hints, options = get_type_hints(kind), fields(kind)

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        *first, last = inspect.signature(function).parameters.values()
        more = [Parameter(f.name, Parameter.KEYWORD_ONLY, default=f.default, annotation=hints[f.name]) for f in options]
        signature = inspect.Signature([*first, *more, last])
        function.__signature__ = signature  # type: ignore[attr-defined]
        function.__annotations__ |= {**{f.name: hints[f.name] for f in options}, last.name: rest}
        lines = [f"{f.name}: {f.metadata['help']}." for f in options]
        function.__doc__ = "\n".join([inspect.cleandoc(function.__doc__ or ""), "", *lines])
        return function

    return decorate


def _accepted(name: str, value: Any, hint: Any) -> Any:
    """Return the value as the function receives it; raise ArgumentError for a value of another type."""
    value = value.item() if isinstance(value, np.generic) else value
    for kind in _kinds(hint):
        if _is_instance(value, kind):
            of = get_args(kind)[0] if get_origin(kind) in LISTS else Any
            return value if of is Any else [_accepted(name, item, of) for item in value]
    raise ArgumentError(f"{name} {shown(value)}: {_type_words(hint)} is accepted")


def _kinds(hint: Any) -> list[Any]:
    """Return the members of a union, or the type itself in a list."""
    return [*get_args(hint)] if get_origin(hint) in (Union, UnionType) else [hint]


def _is_instance(value: Any, kind: Any) -> bool:
    """Return True for a value of the type; items of a list are not checked."""
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


def _type_words(hint: Any, several: bool = False) -> str:
    """Describe the accepted types but None in words; a text beside a path is not mentioned."""
    kinds = {get_origin(kind) or kind: kind for kind in _kinds(hint) if kind is not NoneType}
    if os.PathLike in kinds:
        kinds.pop(str, None)
    return " or ".join(_word(kind, several) for kind in kinds.values())


def _word(kind: Any, several: bool) -> str:
    origin = get_origin(kind) or kind
    if origin is Literal:
        return " or ".join(get_args(kind))
    if origin in LISTS:
        return f"a list of {_type_words(get_args(kind)[0], several=True)}"
    return WORDS.get(origin, (f"a {origin.__name__}", f"{origin.__name__}s"))[several]
