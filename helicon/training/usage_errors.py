"""Errors of options, with file and line of the config that sets them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml

from helicon.cli.errors import CommandError
from helicon.data.entries import DataError
from helicon.formats.printable import printable
from helicon.presets import config_path
from helicon.training.settings.words import configs_of, typed_options


class UsageError(CommandError, ValueError):
    """Error of an argument that is unknown or not accepted; the message names it and what is accepted.

    Args:
        message: one line.
        option: dotted name of the option, such as `model.lr`; None for other arguments.
    """

    def __init__(self, message: str, option: str | None = None) -> None:
        super().__init__(message)
        self.option = option


@contextmanager
def locating_options(*configs: str | Path, words: Sequence[str] = ()) -> Iterator[None]:
    """Add file and line of a refused option, unless it was typed, to a UsageError or DataError of the `with` block.

    Args:
        configs: files and presets whose options are used.
        words: of the command line, which can name further configs.

    Raises:
        UsageError: the error with file and line, in place of the original.
    """
    try:
        yield
    except (UsageError, DataError) as error:
        match = re.match(r"--([\w.]+)", str(error))
        option = error.option if isinstance(error, UsageError) else match and match[1]
        files = [*map(str, configs), *configs_of(words)]
        typed = dict(typed_options(words)).get(f"--{option}")
        if not option or (typed is not None and not _concerns_config(str(error), typed)):
            raise
        if places := [place for name in files if (place := _find_option(option, name))]:
            raise UsageError(f"{error} ({places[-1]})") from error  # a later config overrides earlier ones
        raise


def _concerns_config(message: str, typed: str) -> bool:
    """Return whether a message refuses another value than the typed one, which then is that of a config."""
    refused = re.search(r"Got value: (.+)", message)
    if refused is None or refused[1] == typed:
        return False
    try:
        return float(refused[1]) != float(typed)  # messages print the parsed number, such as 10.0 for 1e1
    except ValueError:
        return True


def _find_option(option: str, config: str) -> str | None:
    """Return file and line, in words, where a preset or YAML file sets an option; None where it does not."""
    if not (path := config_path(config)).is_file():
        return None
    node, line = yaml.compose(path.read_text(encoding="utf-8"), yaml.SafeLoader), 0
    for name in option.split("."):
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        entries = [(key, value) for key, value in pairs if key.value.rstrip("+") == name]
        if not entries:
            return None
        line, node = entries[0][0].start_mark.line + 1, entries[0][1]
    return f"{printable(path)}, line {line}"
