"""Resource limits of a resumed run's config: processes, batch size, cache folder.

A run may come from somebody else. Options typed on the command line are the user's own and are not limited. The size of
the model is compared with the weights of the checkpoint before the model is built, in `learning/base.py`.
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

# The limit of ranks and data loader workers together is PROCESSES_PER_CPU a CPU, but at least MIN_PROCESSES
PROCESSES_PER_CPU, MIN_PROCESSES = 4, 8
MAX_NODES = 1  # with more, this machine would listen on a port and wait for others
MAX_BATCH_TOKENS = 1 << 20  # of the sequences of a GPT's batch: 256 of 4096 tokens
MAX_BATCH_VALUES = 1 << 26  # of the pixels or samples of a codec's batch: 256 MiB in float32
MAX_DEFAULT_BATCH = 32  # largest default of data.batch_size over all tasks
BOUNDS = {"data.seed": (0, (1 << 32) - 1), "trainer.accumulate_grad_batches": (1, 4096)}  # seeds: NumPy's range
# Upper limits of other whole numbers, far above useful ones; sizes are in pixels, samples, Hz and MB
MAX_COUNTS = {
    "data.batch_size": 1 << 16, "model.context": 1 << 20, "data.size": 4096, "data.window": 1 << 24,
    "data.rate": 384_000, "data.val_batches": 4096, "data.max_mb": 128,
}  # fmt: skip


def excessive_setting(config: Mapping[str, Any], typed: Collection[str] = ()) -> str | None:
    """Find the first setting of a config that exceeds a limit.

    Args:
        config: of a run, a nested dict.
        typed: dotted names of options that the user typed, whose values in the config do not count.

    Returns:
        Refusal, a text of one line, with the setting and its limit; None where all are within their limits.
    """
    settings = {
        f"{group}.{name}": value
        for group in GROUPS for name, value in (config.get(group) or {}).items()
        if value is not None and f"{group}.{name}" not in typed
    }  # fmt: skip
    most = {**MAX_COUNTS, "data.workers": _max_processes(), "trainer.num_nodes": MAX_NODES}
    for name, limit in most.items():
        if name in settings and (_count(settings[name]) is None or not 0 <= _count_of(settings, name, 0) <= limit):
            return f"{name} {shown(settings[name])}: at most {limit:,} is accepted"
    for name, (least, limit) in BOUNDS.items():
        if name in settings and not least <= _count_of(settings, name, -1) <= limit:
            return f"{name} {shown(settings[name])}: a whole number from {least:,} to {limit:,} is accepted"
    layouts = settings.get("data.layouts", ["text"])
    if not layouts or not (isinstance(layouts, str) or all(isinstance(layout, str) for layout in layouts)):
        return f"data.layouts {shown(layouts)}: a list of at least one layout is accepted"
    devices = _device_count(settings.get("trainer.devices", "auto"))
    processes = (devices or 0) * (1 + _count_of(settings, "data.workers", 0))
    if devices is None or processes > _max_processes():
        asked = (
            f"trainer.devices {shown(settings['trainer.devices'])}"
            if devices is None or devices > 1
            else "data.workers"
        )
        return f"{asked}: at most {_max_processes()} processes in all are accepted on this machine"
    return _excessive_batch(settings) or _foreign_cache(settings)


def _excessive_batch(settings: Mapping[str, Any]) -> str | None:
    """Return the refusal of a batch of too many tokens, pixels or samples; None for others."""
    count = _count_of(settings, "data.batch_size", MAX_DEFAULT_BATCH)
    context = _count_of(settings, "model.context", 1)
    # RGB pictures and stereo sounds
    values = max(3 * _count_of(settings, "data.size", 0) ** 2, 2 * _count_of(settings, "data.window", 0))
    for unit, size, limit in (("tokens", context, MAX_BATCH_TOKENS), ("values", values, MAX_BATCH_VALUES)):
        if count * size > limit:
            return f"data.batch_size {count:,} of {size:,} {unit} each: at most {limit:,} together are accepted"
    return None


def _foreign_cache(settings: Mapping[str, Any]) -> str | None:
    """Return the refusal of a cache folder outside the user's cache; None for others."""
    cache, folder = settings.get("data.cache"), os.path.realpath(cache_path())
    if cache is None or (isinstance(cache, str) and Path(os.path.realpath(cache)).is_relative_to(folder)):
        return None
    return f"data.cache {printable(cache, 80)} is not within {printable(folder, 120)}"


def _count_of(settings: Mapping[str, Any], name: str, default: int) -> int:
    count = _count(settings.get(name))
    return default if count is None else count


def _count(value: Any) -> int | None:
    """Return a whole number, or the digits of one; None for other values."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 12:
        return int(value)
    return value if type(value) is int else None


def _device_count(value: Any) -> int | None:
    """Return the number of ranks that `trainer.devices` starts, 1 for `auto`; None for a value that is no number."""
    if value in ("auto", "-1", -1):
        return 1
    if isinstance(value, list):
        return len(value)
    if isinstance(value, str) and "," in value:
        return value.count(",") + 1
    count = _count(value)
    return count if count and count > 0 else None


def _max_processes() -> int:
    return max(MIN_PROCESSES, PROCESSES_PER_CPU * (os.cpu_count() or 1))
