"""Options as they are typed: names and values of a command line; its configs count as if they came before the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

import yaml

from helicon.presets import GROUPS, dotted, preset, preset_path


def typed_options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Name and value of each option of a command line; the value is the word that follows where there is no `=`.

    A group that is typed as a whole, `--trainer '{"max_steps": 9}'`, is each option in it.
    """
    for word, following in zip(words, [*words[1:], ""]):
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            name, value = name.removesuffix("+"), value if equals else following
            yield from _options_of(name, value) if name.removeprefix("--") in GROUPS else [(name, value)]


def _options_of(group: str, value: str) -> Iterator[tuple[str, str]]:
    try:
        found = yaml.safe_load(value)
    except yaml.YAMLError:  # which the parser will say
        found = None
    if not isinstance(found, Mapping):  # a file, which is a config
        yield group, value
        return
    for name, each in found.items():
        yield f"{group}.{name}", each if isinstance(each, str) else json.dumps(each, default=str)


def typed_names(words: Sequence[str]) -> Iterator[str]:
    """Dotted names of the options that words and their configs have."""
    for name, value in typed_options(words):
        option = name.removeprefix("--")
        if option == "config" or option in GROUPS:
            config = yaml.safe_load(value) if value.startswith("{") else preset(value)
            yield from dotted(config if option == "config" else {option: config})
        else:
            yield ".".join(option.split(".")[: 2 if option.partition(".")[0] in GROUPS else 1])


def configs_of(args: Sequence[str]) -> list[str]:
    """Presets and files that a command line names by --config."""
    return [value for name, value in typed_options(args) if name == "--config" and not value.startswith("{")]


def resolve_configs(args: Sequence[str]) -> list[str]:
    """Arguments with preset names after --config replaced by the packaged files, before what is typed: that wins."""
    configs, others, words = [], [], iter(args)
    for word in words:
        name, equals, value = word.partition("=")
        if name == "--config" and (file := value if equals else next(words, None)) is not None:
            configs.append(f"--config={_config_file(file)}")
        else:
            others.append(word)
    return [*configs, *others]


def _config_file(name: str) -> str:
    """File of a preset or of that name, unless it is empty; what is a config itself, in JSON, stays.

    ValueError for what is no config, which a parser would say without its name.
    """
    if name.startswith("{"):
        return name
    return str(preset_path(name)) if preset(name) else "{}"
