"""Packaged YAML configs: tasks (what is trained) and shapes (published models and their tiny twins).

`--config NAME` takes any of them; several are merged, the later ones winning: `--config music --config small`.

In come names of presets or paths of YAML files; out come configs, nested dicts, and functions that merge them. Open
`music.yaml` (a task) and `tiny.yaml` (a shape) first.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from helicon.formats.nearest import unknown
from helicon.formats.printable import MAX_QUOTED, printable

FOLDER = Path(__file__).parent  # of the presets' YAML files
GROUPS = ("model", "data", "trainer")  # of a config, beside the options of a run

Config = Mapping[str, Any]


def preset_names() -> list[str]:
    """List the names of presets that `--config` accepts, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def config_path(name: str) -> Path:
    """Return the path of the file of a preset's name, else the name as a path, whether the file exists or not."""
    return FOLDER / f"{name}.yaml" if name in preset_names() else Path(name)


def preset_path(name: str) -> Path:
    """Return the path of the file of a preset's name, or of a config file; ValueError shows the nearest names."""
    if (path := config_path(name)).is_file():
        return path
    raise ValueError(unknown("preset or config file", name, preset_names()))


def preset(name: str) -> dict[str, Any]:
    """Load a packaged preset by name, or a config file by path: a dict of options and groups of options by name.

    Paths of plugins in the file are relative to its folder; the result has them joined to that folder.

    Raises:
        ValueError: the file is no config; the message names it.
    """
    path = preset_path(name)
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        if twice := _twice(node):
            line, key = twice.start_mark.line + 1, printable(twice.value, MAX_QUOTED)
            raise ValueError(f"{printable(path)}, line {line}: {key} a second time; once is accepted")
        config = None if node is None else loader.construct_document(node)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{printable(path)}: no YAML ({printable(' '.join(str(error).split()), MAX_QUOTED)})"
        ) from None
    config = {} if config is None else config
    wrong = (
        [group for group in GROUPS if not isinstance(config.get(group) or {}, dict)] if isinstance(config, dict) else []
    )
    if not isinstance(config, dict) or wrong:
        what = f"{wrong[0]} is" if wrong else "these are"
        raise ValueError(
            f"{printable(path)}: {what} no settings; names and values are accepted, as in {FOLDER.name}/music.yaml"
        )
    if isinstance(plugins := config.get("plugins"), list):
        config["plugins"] = [_beside(path, plugin) for plugin in plugins]
    return config


def _beside(config: Path, plugin: Any) -> Any:
    """Resolve a plugin's file relative to the folder of its config; packages and invalid values stay as they are."""
    is_file = isinstance(plugin, str) and re.search(r"\.py(#|$)", plugin)
    return str(config.parent / plugin) if is_file else plugin


def _twice(config: yaml.Node | None) -> yaml.Node | None:
    """Find a key that occurs twice in a mapping, of which YAML would take the last; None without one."""
    left, known = [config], set()
    while left:
        node = left.pop()
        if not isinstance(node, yaml.MappingNode) or id(node) in known:  # an anchor may be referenced many times
            continue
        known.add(id(node))
        names = [name.value for name, _ in node.value]
        for number, name in enumerate(names):
            if name in names[:number]:
                return node.value[number][0]
        left += [value for _, value in node.value]
    return None


def dotted(config: Config) -> list[str]:
    """List the dotted names of the options of a config (a nested dict): `weights`, `model.layers`.

    Deeper levels belong to their values.
    """
    names = []
    for name, value in config.items():
        grouped = name in GROUPS and isinstance(value, Mapping)
        names += [f"{name}.{option}" for option in value] if grouped else [name]
    return [name.removesuffix("+") for name in names]


def chosen(config: Config, names: Collection[str]) -> dict[str, Any]:
    """Select options of a config.

    Args:
        config: options and groups of options by name, of a preset or file.
        names: dotted names of the options to keep, such as `model.layers`.

    Returns:
        Config with these options alone.
    """
    groups = {
        group: {name: value for name, value in (config.get(group) or {}).items() if f"{group}.{name}" in names}
        for group in GROUPS
    }
    alone = {name: value for name, value in config.items() if name in names and name not in GROUPS}
    return {**alone, **{group: values for group, values in groups.items() if values}}


def without(config: Config, names: Collection[str]) -> dict[str, Any]:
    """Remove options from a config.

    Args:
        config: options and groups of options by name, of a preset or file.
        names: dotted names of the options to remove, such as `model.layers`.

    Returns:
        Config with the other options.
    """
    return chosen(config, [name for name in dotted(config) if name not in names])


def merge(*configs: Config) -> dict[str, Any]:
    """Merge configs, nested dicts as of `preset`, to one; of several values of an option the last counts."""
    merged: dict[str, Any] = {}
    for config in configs:
        for name, value in config.items():
            grouped = name in GROUPS and isinstance(value, Mapping)
            merged[name] = {**(merged.get(name) or {}), **value} if grouped else value
    return merged
