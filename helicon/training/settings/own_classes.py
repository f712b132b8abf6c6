"""Code of the user's own that a command line names: plugins, and classes of the current folder too.

The `helicon` process imports nothing from the current folder, which may be a stranger's. What is typed is trusted: of a
class path that is typed the module is loaded from there by its file, and the folder is searched as long as that takes,
after everything else. A class path in a config never is.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import yaml

from helicon.formats.checked import texts
from helicon.formats.printable import printable
from helicon.plugins.loading import load_plugins
from helicon.plugins.plugin import PluginError
from helicon.presets import preset
from helicon.training.errors import TrainingError
from helicon.training.settings.words import typed_options

NAMING = ("--trainer.callbacks", "--trainer.logger", "--trainer.profiler", "--trainer.plugins", "--trainer.strategy")
NAMING += ("--optimizer", "--lr_scheduler")
MOST_PLUGINS = 32


def import_typed(words: Sequence[str]) -> None:
    """Loads the plugins of what is typed, and imports modules of the current folder that class paths are of.

    Args:
        words: of a command line; the plugins of its configs are loaded too, as whoever typed their names wants it.

    Raises:
        PluginError: for a plugin that cannot be loaded, with file and line.
        TrainingError: for a module that fails.
    """
    typed = [*typed_options(words)]
    for name, value in typed:
        if name == "--config":
            load_plugins_of(value)
        elif name == "--plugins":
            load_plugins(yaml.safe_load(value) if value.startswith("[") else [value])
    for name, value in typed:
        if name in NAMING or name.removesuffix(".class_path") in NAMING:
            for path in _class_paths(value):
                _import_own(path.partition(".")[0], f"{name} {path}")


def load_plugins_of(config: str) -> None:
    """Loads the plugins of a preset or a file, which a PluginError names, or of a config in JSON."""
    if config.startswith("{"):
        load_plugins(plugins_of(yaml.safe_load(config)))
        return
    try:
        load_plugins(plugins_of(preset(config)))
    except PluginError as error:
        said = str(error).removeprefix("--plugin ")
        raise PluginError(f"{printable(config)}, plugins: {said}") from error


def plugins_of(config: Mapping[str, Any]) -> list[str]:
    """Those that a config names; ValueError for what is no list of them."""
    return texts("plugins", config.get("plugins") or [], MOST_PLUGINS)


def _class_paths(value: str) -> Iterator[str]:
    """Those that an option's value names: by itself, or in a list or mapping of them."""
    try:
        left = [yaml.safe_load(value)]
    except yaml.YAMLError:  # which the parser will say
        return
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += part
        elif isinstance(part, dict):
            left.append(part.get("class_path"))
        elif isinstance(part, str) and "." in part and all(word.isidentifier() for word in part.split(".")):
            yield part


def _import_own(name: str, said: str) -> None:
    folder = Path.cwd()
    found = [path for path in (folder / name / "__init__.py", folder / f"{name}.py") if path.is_file()]
    if not found or name in sys.modules or find_spec(name) is not None:
        return
    spec = spec_from_file_location(name, found[0])
    assert spec is not None
    assert spec.loader is not None
    module: Any = module_from_spec(spec)
    sys.modules[name] = module
    sys.path.append(str(folder))  # for what it imports itself
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a module of somebody's raises
        del sys.modules[name]
        raise TrainingError(f"{said}: {found[0]} cannot be imported ({type(error).__name__}: {error})") from error
    finally:
        sys.path.remove(str(folder))


def own_class_options(config: Mapping[str, Any]) -> list[str]:
    """Options of a command line that name the classes of a config, for a further process to import them as typed."""
    named = {f"--trainer.{name}": value for name, value in (config.get("trainer") or {}).items()}
    named |= {f"--{name}": value for name, value in config.items()}
    return [f"{name}={json.dumps(named[name])}" for name in NAMING if isinstance(named.get(name), list | dict)]
