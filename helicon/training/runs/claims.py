"""What a run's own config may ask of a machine when the run is gone on with: processes, a batch, a place for its cache.

A run may be somebody else's. What is typed is whoever trains' own, and is not looked at. The size of the model is
compared with the weights of the checkpoint, in base.py, before it is made.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from helicon.formats.checked import shown
from helicon.formats.files import cache_path
from helicon.formats.printable import printable
from helicon.presets import GROUPS

PROCESSES_A_CPU, LEAST_PROCESSES = 4, 8  # of trainers and their readers, on this machine
MOST_NODES = 1  # others listen on a port of this machine, and wait for more of them
MOST_TOKENS, MOST_VALUES = 1 << 20, 1 << 26  # of a batch: of sequences; of the pictures or sounds of a codec
LARGEST_DEFAULT = 32  # batch, of any task
BOUNDS = {"data.seed": (0, (1 << 32) - 1), "trainer.accumulate_grad_batches": (1, 4096)}
MOST = {  # of other whole numbers
    "data.batch_size": 1 << 16, "model.context": 1 << 20, "data.size": 4096, "data.window": 1 << 24,
    "data.rate": 384_000, "data.val_batches": 4096, "data.max_mb": 128,
}  # fmt: skip


def excess(config: Mapping[str, Any], typed: Collection[str] = ()) -> str | None:
    """What in a config asks for more than a run may, and the limit. typed: options whose values here do not count."""
    said = {
        f"{group}.{name}": value
        for group in GROUPS for name, value in (config.get(group) or {}).items()
        if value is not None and f"{group}.{name}" not in typed
    }  # fmt: skip
    most = {**MOST, "data.workers": _most_processes(), "trainer.num_nodes": MOST_NODES}
    for name, limit in most.items():
        if name in said and (_count(said[name]) is None or not 0 <= _whole(said, name, 0) <= limit):
            return f"{name} {shown(said[name])}: at most {limit:,} is accepted"
    for name, (least, limit) in BOUNDS.items():
        if name in said and not least <= _whole(said, name, -1) <= limit:
            return f"{name} {shown(said[name])}: a whole number from {least:,} to {limit:,} is accepted"
    layouts = said.get("data.layouts", ["text"])
    if not layouts or not (isinstance(layouts, str) or all(isinstance(layout, str) for layout in layouts)):
        return f"data.layouts {shown(layouts)}: a list of at least one layout is accepted"
    devices = _devices(said.get("trainer.devices", "auto"))
    processes = (devices or 0) * (1 + _whole(said, "data.workers", 0))
    if devices is None or processes > _most_processes():
        asked = (
            f"trainer.devices {shown(said['trainer.devices'])}" if devices is None or devices > 1 else "data.workers"
        )
        return f"{asked}: at most {_most_processes()} processes in all are accepted on this machine"
    return _batch(said) or _cache(said)


def _batch(said: Mapping[str, Any]) -> str | None:
    """What is too large a batch, of the tokens, pixels or samples that it holds."""
    count = _whole(said, "data.batch_size", LARGEST_DEFAULT)
    context = _whole(said, "model.context", 1)
    values = max(3 * _whole(said, "data.size", 0) ** 2, 2 * _whole(said, "data.window", 0))
    for what, each, limit in (("tokens", context, MOST_TOKENS), ("values", values, MOST_VALUES)):
        if count * each > limit:
            return f"data.batch_size {count:,} of {each:,} {what} each: at most {limit:,} together are accepted"
    return None


def _cache(said: Mapping[str, Any]) -> str | None:
    """A cache outside of the user's own, which would be written to."""
    cache, own = said.get("data.cache"), os.path.realpath(cache_path())
    if cache is None or (isinstance(cache, str) and Path(os.path.realpath(cache)).is_relative_to(own)):
        return None
    return f"data.cache {printable(cache, 80)} is not within {printable(own, 120)}"


def _whole(said: Mapping[str, Any], name: str, default: int) -> int:
    found = _count(said.get(name))
    return default if found is None else found


def _count(value: Any) -> int | None:
    """A whole number, also as the words of a command have it."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        return int(value)
    return value if type(value) is int else None


def _devices(value: Any) -> int | None:
    """How many processes a trainer of these devices has, at most where a number says it; None for what is no number."""
    if value in ("auto", "-1", -1):
        return 1
    if isinstance(value, list):
        return len(value)
    if isinstance(value, str) and "," in value:
        return value.count(",") + 1
    count = _count(value)
    return count if count and count > 0 else None


def _most_processes() -> int:
    return max(LEAST_PROCESSES, PROCESSES_A_CPU * (os.cpu_count() or 1))
