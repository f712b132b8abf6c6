"""User code that a command line names: plugins, and classes such as `--trainer.callbacks my_file.MyCallback`.

By default `helicon` imports nothing from the current folder, which may be a stranger's. Typed options are trusted: the
module of a typed class path is loaded from the current folder by its file, and the folder is the last entry of
`sys.path` while that lasts. A class path in a config is never looked up there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import yaml

from helicon.formats.printable import printable
from helicon.plugins.loading import load_plugins
from helicon.plugins.plugin import PluginError, plugin_list
from helicon.presets import preset
from helicon.training.errors import TrainingError
from helicon.training.settings.words import typed_options

# Options whose values are class paths
CLASS_OPTIONS = (
    "--trainer.callbacks",
    "--trainer.logger",
    "--trainer.profiler",
    "--trainer.plugins",
    "--trainer.strategy",
)
CLASS_OPTIONS += ("--optimizer", "--lr_scheduler")


def import_typed(words: Sequence[str]) -> None:
    """Load the plugins that a command line names, and import the modules of its class paths.

    Args:
        words: of a command line; plugins of the configs that it names are loaded too.

    Raises:
        PluginError: a plugin cannot be loaded; with file and line.
        TrainingError: a module cannot be imported.
    """
    typed = [*typed_options(words)]
    for name, value in typed:
        if name == "--config":
            load_plugins_of(value)
        elif name == "--plugins":
            load_plugins(yaml.safe_load(value) if value.startswith("[") else [value])
    for name, value in typed:
        if name in CLASS_OPTIONS or name.removesuffix(".class_path") in CLASS_OPTIONS:
            for path in _class_paths(value):
                _import_user_module(path.partition(".")[0], f"{name} {path}")


def load_plugins_of(config: str) -> None:
    """Load the plugins of a config: name of a preset, path of a file, or JSON.

    Raises:
        PluginError: a plugin cannot be loaded; names the preset or file.
    """
    if config.startswith("{"):
        load_plugins(plugins_of(yaml.safe_load(config)))
        return
    try:
        load_plugins(plugins_of(preset(config)))
    except PluginError as error:
        message = str(error).removeprefix("--plugin ")
        raise PluginError(f"{printable(config)}, plugins: {message}") from error


def plugins_of(config: Mapping[str, Any]) -> list[str]:
    """Return the plugins that a config names, files or modules as text; ValueError as `plugin_list` raises it."""
    return plugin_list(config.get("plugins") or [])


def _class_paths(value: str) -> Iterator[str]:
    """Yield the class paths of an option's value: a class path, or a list or mapping with some."""
    try:
        left = [yaml.safe_load(value)]
    except yaml.YAMLError:  # which the parser reports
        return
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += part
        elif isinstance(part, dict):
            left.append(part.get("class_path"))
        elif isinstance(part, str) and "." in part and all(word.isidentifier() for word in part.split(".")):
            yield part


def _import_user_module(name: str, option: str) -> None:
    """Import a top-level module of the current folder unless it is installed; `option` stands in the error."""
    folder = Path.cwd()
    files = [path for path in (folder / name / "__init__.py", folder / f"{name}.py") if path.is_file()]
    if not files or name in sys.modules or find_spec(name) is not None:
        return
    spec = spec_from_file_location(name, files[0])
    assert spec is not None
    assert spec.loader is not None
    module: Any = module_from_spec(spec)
    sys.modules[name] = module
    sys.path.append(str(folder))  # for the module's imports
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # user code may raise anything
        del sys.modules[name]
        raise TrainingError(f"{option}: {files[0]} cannot be imported ({type(error).__name__}: {error})") from error
    finally:
        sys.path.remove(str(folder))


def user_class_options(config: Mapping[str, Any]) -> list[str]:
    """Return the class options of a config (nested dict) as words of a command line, for a sibling rank to trust."""
    named = {f"--trainer.{name}": value for name, value in (config.get("trainer") or {}).items()}
    named |= {f"--{name}": value for name, value in config.items()}
    return [f"{name}={json.dumps(named[name])}" for name in CLASS_OPTIONS if isinstance(named.get(name), list | dict)]
