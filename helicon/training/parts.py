"""Parts of the cache of a training's data: one of them, or all of them spread over a Ray cluster."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from helicon.data.parts import Part, prepare_part
from helicon.data.source import DataSource
from helicon.formats.progress import log
from helicon.plugins.loading import files, load_plugins
from helicon.tokenizers.base import Tokenizer
from helicon.training.codecs.raw_data import RawData
from helicon.training.errors import TrainingError
from helicon.training.learning.data import SequenceData

ROUNDS = 2  # where tokenizers are fitted: surveys of all parts, then their tokens


def prepare_parts(data: SequenceData | RawData, part: str | None, on: str | None) -> None:
    """Make a part of a cache here, or all parts elsewhere; what was read is logged once the cache is whole.

    Args:
        data: data module, `SequenceData` or `RawData`.
        part: such as `3/16`; with `on`, the number of all parts alone, such as `16`.
        on: `ray`, or None for this machine.

    Raises:
        TrainingError: a stream, or Ray is not there.
        DataError: `part` is no part.
    """
    if isinstance(data, SequenceData) and data.stream:
        raise TrainingError("--part: --data.stream true has no cache of the whole set")
    if on not in (None, "ray"):
        raise TrainingError(f"--on {on}: ray is accepted")
    if on:
        _spread(data.source, data.pretrained_tokenizers, part)
    mine = Part.parse(part if part and not on else "1/1")
    prepared = prepare_part(data.source, mine, data.pretrained_tokenizers, log)
    if prepared is not None:
        log(prepared.summary())


def _spread(source: DataSource, pretrained: Mapping[str, Tokenizer], parts: str | None) -> None:
    """Make all parts on a Ray cluster: that of RAY_ADDRESS, or one on this machine."""
    try:
        ray: Any = import_module("ray")  # not by `import`, as types are checked without it, too
    except ImportError:
        raise TrainingError('--on ray: Ray is not installed; pip install "helicon-gpt[ray]"') from None
    started = not ray.is_initialized()
    if started:
        ray.init(log_to_driver=False)
    try:
        count = Part.parse(f"1/{parts or max(1, int(ray.cluster_resources().get('CPU', 1)))}").parts
        log(f"parts      {count} on {len(ray.nodes())} machines of a Ray cluster")
        make: Any = ray.remote(num_cpus=1)(_make)
        for _ in range(ROUNDS):
            waiting = [make.remote(source, Part(n, count), pretrained, files()) for n in range(1, count + 1)]
            while waiting:
                done, waiting = ray.wait(waiting)
                ray.get(done)  # which raises what a part has raised
                log(f"parts      {count - len(waiting)} of {count}")
    finally:
        if started:
            ray.shutdown()


def _make(source: DataSource, part: Part, pretrained: Mapping[str, Tokenizer], plugins: list[str]) -> None:
    """Make a part in a process of Ray's, with one process, as Ray starts as many as there are cores."""
    load_plugins(plugins)
    prepare_part(source, part, pretrained, processes=1)
