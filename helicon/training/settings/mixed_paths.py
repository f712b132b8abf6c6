"""Several `--data.path` of a command line, and their weights, as the sources of a mixture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from helicon.presets import preset
from helicon.training.settings.words import typed_options
from helicon.training.usage_errors import UsageError


def with_sources(words: Sequence[str], path: str | None = None) -> tuple[str | None, list[str]]:
    """Replace several `--data.path`, and `--data.weights`, by the `--data.sources` that they stand for.

    Args:
        words: options of a command line.
        path: folder that was typed without an option, the first source then.

    Returns:
        The path of the first source, also where only a config names it, None where nothing does; and the words without
        `--data.path` and `--data.weights`.

    Raises:
        UsageError: weights that are no numbers, or not as many as paths.
    """
    paths, weights, others, rest = [path] if path else [], None, [], iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name not in ("--data.path", "--data.weights") or (not equals and (value := next(rest, None)) is None):
            others.append(word)
        elif name == "--data.path":
            paths.append(value)
        else:
            weights = _weights(value)
    if weights is not None and len(weights) != len(paths):
        raise UsageError(f"--data.weights: {len(weights)} for {len(paths)} --data.path; one for each is accepted")
    if len(paths) > 1 or weights is not None:
        weighted = [{"weight": weight} for weight in weights] if weights else [{}] * len(paths)
        sources = [{"path": place} | weight for place, weight in zip(paths, weighted)]
        others.append(f"--data.sources={json.dumps(sources)}")
    return paths[0] if paths else _first_source(words), others


def _weights(text: str) -> list[float]:
    try:
        return [float(weight) for weight in text.strip("[]").split(",")]
    except ValueError:
        accepted = "numbers such as .7,.3 are accepted, one for each --data.path"
        raise UsageError(f"--data.weights {text}: {accepted}") from None


def _first_source(words: Sequence[str]) -> str | None:
    """Return the path of the first of the sources that words or their configs name."""
    first = None
    for name, value in typed_options(words):
        sources: Any = None
        if name == "--config":
            config = yaml.safe_load(value) if value.startswith("{") else preset(value)
            sources = (config.get("data") or {}).get("sources")
        elif name == "--data.sources":
            sources = yaml.safe_load(value)
        if isinstance(sources, list) and sources and isinstance(sources[0], Mapping):
            first = sources[0].get("path", first)
    return first
