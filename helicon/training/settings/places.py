"""Paths in a run's config: relative to the folder that the run began in, and found from any other folder.

They are recorded as typed, beside the way from the run's folder to the folder that it began in. So a run is found
again wherever it is called from, also where both have moved together, and its config names no folder of this machine
that nobody typed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from helicon.formats.checked import text
from helicon.modalities import registry
from helicon.presets import Config
from helicon.sources.places import is_elsewhere

BEGUN_IN = "begun_in"  # option of a run's config alone
MAX_PATH = 4096  # characters of `begun_in`, as Linux accepts in a path
RUN_PATHS = ("upsampler_of", "repeat", "ckpt_path")  # options of a run that are paths
DATA_PATHS = ("path", "manifest", "cache", "init_from")  # those of the group `data`
_AT_LEVEL = re.compile(r"@\d+$")  # of a codec, after the path of its run
REQUEST_PATHS = ("path", "runs", "init_from", "manifest", "upsampler_of")  # fields of a TrainRequest that are paths


def way_back(run: Path) -> str:
    """Return the relative path from a run's folder to the current one; an absolute one from another drive."""
    here = os.path.realpath(".")
    try:
        return Path(os.path.relpath(here, os.path.realpath(run))).as_posix()
    except ValueError:  # on Windows
        return here


def found_from_here(config: Config, run: Path) -> dict[str, Any]:
    """Convert the paths of a run's config to those that name the same files from the current folder.

    Args:
        config: nested dict; without `begun_in` its paths stay as they are.
        run: folder of the run, in which the config lies.

    Returns:
        New config without `begun_in`.

    Raises:
        ValueError: `begun_in` is no text.
    """
    settings = dict(config)
    if (way := settings.pop(BEGUN_IN, None)) is None:
        return settings
    folder = os.path.normpath(os.path.join(os.path.realpath(run), text(BEGUN_IN, way, MAX_PATH)))
    return settings if folder == os.path.realpath(".") else _moved(settings, folder)


def _moved(config: Config, folder: str) -> dict[str, Any]:
    """Join the relative paths of a run's config, and of the requests of its next stages, to a folder."""
    moved = _joined(config, RUN_PATHS, folder)
    if isinstance(data := moved.get("data"), Mapping):
        moved["data"] = _joined(data, DATA_PATHS, folder)
        if isinstance(sources := data.get("sources"), list):
            moved["data"]["sources"] = [
                _joined(source, DATA_PATHS, folder) if isinstance(source, Mapping) else source for source in sources
            ]
        if isinstance(names := data.get("tokenizers"), Mapping):
            moved["data"]["tokenizers"] = {slot: _tokenizer(name, folder) for slot, name in names.items()}
        if data.get("tokenizer") is not None:
            moved["data"]["tokenizer"] = _tokenizer(data["tokenizer"], folder)
    if isinstance(following := moved.get("next"), Mapping):
        moved["next"] = _moved(_joined(following, REQUEST_PATHS, folder), folder)
        if isinstance(overrides := following.get("overrides"), Mapping):
            moved["next"]["overrides"] = _moved(overrides, folder)
    return moved


def _joined(config: Config, names: tuple[str, ...], folder: str) -> dict[str, Any]:
    paths = {name: config[name] for name in names if isinstance(config.get(name), str)}
    return {**config, **{name: _found(path, folder) for name, path in paths.items()}}


def _found(path: str, folder: str) -> str:
    """Join a path to a folder, unless it is a URL, or is there only from here, as where the run alone has moved."""
    if is_elsewhere(path):
        return path
    joined, only = os.path.join(folder, path), _AT_LEVEL.sub("", path)
    return path if os.path.exists(only) and not os.path.exists(os.path.join(folder, only)) else joined


def _tokenizer(name: Any, folder: str) -> Any:
    """Join the path of a codec's run to a folder; names of registered tokenizers stay, and what is no text."""
    known = {kind for medium in registry.all_modalities().values() for slot in medium.slots
             for kind in registry.specs(slot)}  # fmt: skip
    return _found(name, folder) if isinstance(name, str) and name not in known else name
