"""Argument parser with one-line errors."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from helicon.cli.errors import CommandError
from helicon.formats.printable import print_text


class CommandParser(argparse.ArgumentParser):
    """ArgumentParser without abbreviations; its errors are one line and name the nearest option."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "allow_abbrev": False})

    def error(self, message: str) -> NoReturn:
        raise CommandError(" ".join(message.split()))

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help; argparse would ignore that standard output cannot be written to."""
        print_text(message.rstrip("\n"), file)

    def parse_most(self, words: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Parse the known options, and collect other options with their values.

        `parse_known_args` alone would take the value of an unknown option for a positional argument.

        Args:
            words: words after the command.

        Returns:
            Namespace of the parsed options, and the list of all other words.
        """
        ours, rest, left = [], [], list(words)
        while left:
            word = left.pop(0)
            name, equals, _ = word.partition("=")
            if not name.startswith("--") or name in ("--", *self._option_string_actions):
                ours.append(word)
                continue
            rest.append(word)
            if not equals and left and not left[0].startswith("--"):
                rest.append(left.pop(0))
        parsed, more = self.parse_known_args(ours)
        return parsed, [*rest, *more]

    def unrecognised(self, words: Sequence[str]) -> NoReturn:
        """Raise CommandError that names the first of a list of unknown words and the options nearest to it."""
        word = words[0].partition("=")[0]
        options = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
        near = get_close_matches(word, options, n=3, cutoff=0.5)
        advice = f"nearest: {', '.join(near)}" if near else f"see {self.prog} --help"
        raise CommandError(f"unknown argument {word!r}; {advice}")
