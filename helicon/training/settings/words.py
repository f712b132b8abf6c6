"""Words of a command line: names and values of its options. Configs count as if they came before all other options."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import yaml

from helicon.presets import GROUPS, dotted, preset, preset_path
from helicon.training.settings.places import BEGUN_IN, found_from_here


def typed_options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (name, value) of each option in the words of a command line, such as (`--model.lr`, `0.1`).

    Without `=` the value is the word that follows.

    A group that is typed in JSON, `--trainer '{"max_steps": 9}'`, yields each option in it.
    """
    for word, following in zip(words, [*words[1:], ""]):
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            name, value = name.removesuffix("+"), value if equals else following
            yield from _options_of(name, value) if name.removeprefix("--") in GROUPS else [(name, value)]


def _options_of(group: str, value: str) -> Iterator[tuple[str, str]]:
    try:
        options = yaml.safe_load(value)
    except yaml.YAMLError:  # which the parser reports
        options = None
    if not isinstance(options, Mapping):  # a config file
        yield group, value
        return
    for name, setting in options.items():
        yield f"{group}.{name}", setting if isinstance(setting, str) else json.dumps(setting, default=str)


def typed_names(words: Sequence[str]) -> Iterator[str]:
    """Yield the dotted names, `model.lr`, of the options of a command line, and of those of its configs."""
    for name, value in typed_options(words):
        option = name.removeprefix("--")
        if option == "config" or option in GROUPS:
            config = yaml.safe_load(value) if value.startswith("{") else preset(value)
            yield from dotted(config if option == "config" else {option: config})
        else:
            yield ".".join(option.split(".")[: 2 if option.partition(".")[0] in GROUPS else 1])


def configs_of(args: Sequence[str]) -> list[str]:
    """Return the presets and files that the words of a command line name by --config, in their order."""
    return [value for name, value in typed_options(args) if name == "--config" and not value.startswith("{")]


def resolve_configs(args: Sequence[str]) -> list[str]:
    """Return the words with configs moved to the front, as typed options win, and presets replaced by their files."""
    configs, others, words = [], [], iter(args)
    for word in words:
        name, equals, value = word.partition("=")
        if name == "--config" and (file := value if equals else next(words, None)) is not None:
            configs.append(f"--config={_config_file(file)}")
        else:
            others.append(word)
    return [*configs, *others]


def _config_file(name: str) -> str:
    """Return the file of a preset or path, `{}` for an empty one; a config in JSON stays, and that of a run becomes it.

    ValueError for a file that is no config; the parser's error would not name it.
    """
    if name.startswith("{"):
        return name
    config = preset(name)
    if BEGUN_IN in config:
        return json.dumps(found_from_here(config, preset_path(name).parent), default=str)
    return str(preset_path(name)) if config else "{}"
