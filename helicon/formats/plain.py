"""Values as JSON and back, without pickles: numbers, texts, arrays, collections and dataclasses of these."""

from __future__ import annotations

import base64
import sys
from collections import Counter
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

KIND = "is"  # key of the kind in the JSON of what is more than a list, number or text


def to_plain(value: Any) -> Any:
    """Convert a value to what JSON has.

    Args:
        value: None, bool, int, float, str, NumPy array, list, tuple, dict, `Counter`, or dataclass of such values.

    Returns:
        JSON-able value, from which `from_plain` makes an equal one.

    Raises:
        ValueError: a value of another kind.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list):
        return [to_plain(item) for item in value]
    if isinstance(value, tuple) and type(value) is tuple:
        return {KIND: "tuple", "items": [to_plain(item) for item in value]}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {KIND: "array", "type": value.dtype.str, "shape": list(value.shape), "data": data}
    if isinstance(value, dict) and type(value) in (dict, Counter):
        items = [[to_plain(key), to_plain(item)] for key, item in value.items()]
        return {KIND: "counter" if isinstance(value, Counter) else "dict", "items": items}
    if is_dataclass(value) and not isinstance(value, type):
        kind = type(value)
        values = {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
        return {KIND: "object", "module": kind.__module__, "name": kind.__qualname__, "values": values}
    raise ValueError(
        f"{type(value).__name__}: numbers, texts, arrays, collections and dataclasses of these are accepted"
    )


def from_plain(value: Any) -> Any:
    """Make the value of a result of `to_plain`.

    A dataclass is only looked up in modules that are imported already; nothing else is called.

    Args:
        value: as it comes back from JSON.

    Returns:
        The value that `to_plain` converted.

    Raises:
        ValueError: another form, or a class that is not there.
    """
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    kind = value.get(KIND)
    if kind == "tuple":
        return tuple(from_plain(item) for item in value["items"])
    if kind == "array":
        array = np.frombuffer(base64.b64decode(value["data"]), np.dtype(value["type"]))
        return array.reshape(value["shape"]).copy()
    if kind in ("dict", "counter"):
        items = {from_plain(key): from_plain(item) for key, item in value["items"]}
        return Counter(items) if kind == "counter" else items
    if kind == "object":
        known = sys.modules.get(value["module"])
        for name in value["name"].split("."):
            known = getattr(known, name, None)
        if isinstance(known, type) and is_dataclass(known):
            return known(**{name: from_plain(item) for name, item in value["values"].items()})
    raise ValueError(f"no value as `to_plain` writes it: {str(value)[:60]}")
